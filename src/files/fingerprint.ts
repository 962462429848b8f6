import { statSync } from 'node:fs';

/** What tells whether a file is another than before, or was written since: it is the same text only for the same file. "gone" if there is none. */
export function fingerprint(path: string): string {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false });
  return found ? `${found.ino} ${found.size} ${found.mtimeNs}` : 'gone';
}
