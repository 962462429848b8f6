import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';

/** A file system of so many MiB, which takes memory for what is in it alone, gone with the test; undefined, and the test says so, where nobody may mount one. */
export function smallDisk(t: ExecutionContext, mebibytes = 8): string | undefined {
  const at = mkdtempSync(join(tmpdir(), 'memoir-disk-'));
  t.teardown(() => rmSync(at, { recursive: true, force: true }));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'tmpfs', at], { stdio: 'pipe' });
  } catch {
    t.log('skipped: there is no right to mount a small disk');
    t.pass();
    return undefined;
  }
  t.teardown(() => execFileSync('umount', ['--lazy', at]));
  return at;
}
