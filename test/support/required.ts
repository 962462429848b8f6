import type { ExecutionContext } from 'ava';

/** What a test may want that not every machine has. */
export type Wanted =
  | 'buildbox-casd'
  | 'bwrap'
  | 'docker-registry'
  | 'git-reftable'
  | 'go'
  | 'history'
  | 'java'
  | 'npm'
  | 'openssl'
  | 'podman'
  | 'python'
  | 'rust'
  | 'spin'
  | 'systemd'
  | 'tini';

/** MEMOIR_TEST_REQUIRE names, with commas, what must be there: `.ci/run` sets it to all that it installs. */
const required = new Set((process.env.MEMOIR_TEST_REQUIRE ?? '').split(',').map((name) => name.trim()));

/** Ends a test that cannot run for want of something: it says so and passes, or fails where that must be there. */
export function wanting(t: ExecutionContext, wanted: Wanted, why: string): void {
  t.log(`skipped for want of ${wanted}: ${why}`);
  t.false(required.has(wanted), `MEMOIR_TEST_REQUIRE asks for ${wanted}, and ${why}`);
}
