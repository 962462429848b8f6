import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import { tryLock } from '../../src/file-lock.js';

/** Connection string of the server that tests are to run against instead of the double. */
export const realServer = process.env.MEMOIR_TEST_KURRENTDB;

/**
 * Waits until no other test of this machine, in whatever file, uses the real server, so that what is appended until the returned function is
 * called is one range of its log that is this test's alone. On the double, which is a test's alone, there is nothing to wait for.
 */
export async function ownRange(t: ExecutionContext): Promise<() => void> {
  if (realServer === undefined) return () => undefined;
  t.timeout(900_000);
  const name = createHash('sha256').update(realServer).digest('hex').slice(0, 16);
  const path = join(tmpdir(), `memoir-test-kurrentdb-${name}.lock`);
  for (;;) {
    const release = tryLock(path);
    if (release) return release;
    await delay(100);
  }
}
