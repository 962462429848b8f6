import { closeSync, fstatSync, openSync, readFileSync, statSync } from 'node:fs';
import { errno } from './problem.js';

/** The `packed-refs` file of a repository, read again whenever it changed. */
export type PackedRefs = {
  /** Object id that the file gives for a full ref name. */
  get(name: string): string | undefined;
  /** All refs of the file in order of name. */
  entries(): Iterable<{ name: string; id: string }>;
};

type Snapshot = { readonly stamp: string; readonly trusted: boolean; readonly bytes: Buffer };

/** Time within which a second change of a file may leave its time stamps as they were, in nanoseconds. */
const racyWindow = 50_000_000n;

const missing: Snapshot = { stamp: '', trusted: true, bytes: Buffer.alloc(0) };

/**
 * The packed refs at a path; the file need not exist. A copy is kept while the file's inode, size and times stay the same and
 * was not so young that a second change could hide in the same tick of the clock (git's "racy" rule).
 * @param now - wall-clock time in milliseconds
 * @param fail - makes the error to throw for a malformed file
 */
export function openPackedRefs(
  path: string,
  hexDigits: number,
  now: () => number,
  fail: (what: string) => Error,
): PackedRefs {
  let current = missing;

  function snapshot(): Buffer {
    const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
    const stamp = stat ? stampOf(stat) : '';
    if (stamp !== current.stamp || !current.trusted) current = stat ? load() : missing;
    return current.bytes;
  }

  function load(): Snapshot {
    let file: number;
    try {
      file = openSync(path, 'r');
    } catch (error) {
      if (errno(error) === 'ENOENT') return missing;
      throw error;
    }
    try {
      const stat = fstatSync(file, { bigint: true });
      const trusted = BigInt(Math.floor(now())) * 1_000_000n - newest(stat) > racyWindow;
      return { stamp: stampOf(stat), trusted, bytes: sorted(readFileSync(file), hexDigits, fail) };
    } finally {
      closeSync(file);
    }
  }

  return {
    get(name) {
      const bytes = snapshot();
      return bytes.length === 0 ? undefined : search(bytes, Buffer.from(name), hexDigits, fail);
    },
    *entries() {
      const bytes = snapshot();
      for (let at = 0; at < bytes.length; at = lineEnd(bytes, at) + 1) {
        if (isRef(bytes, at)) yield parseLine(bytes, at, hexDigits, fail);
      }
    },
  };
}

type BigStat = { ino: bigint; size: bigint; mtimeNs: bigint; ctimeNs: bigint };

function stampOf({ ino, size, mtimeNs, ctimeNs }: BigStat): string {
  return `${ino}:${size}:${mtimeNs}:${ctimeNs}`;
}

function newest({ mtimeNs, ctimeNs }: BigStat): bigint {
  return mtimeNs > ctimeNs ? mtimeNs : ctimeNs;
}

/** Binary search over the lines, as git itself does it; a line of a peeled tag (`^…`) belongs to the line before. */
function search(bytes: Buffer, name: Buffer, hexDigits: number, fail: (what: string) => Error): string | undefined {
  let low = 0;
  let high = bytes.length;
  while (low < high) {
    let at = lineStart(bytes, (low + high) >>> 1);
    while (at > low && !isRef(bytes, at)) at = lineStart(bytes, at - 1);
    if (!isRef(bytes, at)) {
      low = lineEnd(bytes, at) + 1;
      continue;
    }
    const end = lineEnd(bytes, at);
    if (end - at < hexDigits + 2) throw fail('packed-refs has a line that is too short');
    const order = bytes.compare(name, 0, name.length, at + hexDigits + 1, end);
    if (order === 0) return parseLine(bytes, at, hexDigits, fail).id;
    if (order > 0) high = at;
    else low = end + 1;
  }
  return undefined;
}

/** The file's lines in order of name; files of old git versions, and those that people edited, do not promise it. */
function sorted(bytes: Buffer, hexDigits: number, fail: (what: string) => Error): Buffer {
  const header = bytes.subarray(0, lineEnd(bytes, 0)).toString('latin1');
  if (header.startsWith('# pack-refs with:') && header.split(' ').includes('sorted')) return bytes;
  const lines: { name: Buffer; line: Buffer }[] = [];
  for (let at = 0; at < bytes.length; at = lineEnd(bytes, at) + 1) {
    if (!isRef(bytes, at)) continue;
    parseLine(bytes, at, hexDigits, fail);
    const line = bytes.subarray(at, lineEnd(bytes, at));
    lines.push({ name: line.subarray(hexDigits + 1), line });
  }
  lines.sort((a, b) => Buffer.compare(a.name, b.name));
  return Buffer.concat(lines.flatMap(({ line }) => [line, Buffer.from('\n')]));
}

const hash = 0x23;
const caret = 0x5e;

function isRef(bytes: Buffer, at: number): boolean {
  return bytes[at] !== hash && bytes[at] !== caret;
}

function lineStart(bytes: Buffer, at: number): number {
  return at === 0 ? 0 : bytes.lastIndexOf(10, at - 1) + 1;
}

function lineEnd(bytes: Buffer, at: number): number {
  const end = bytes.indexOf(10, at);
  return end < 0 ? bytes.length : end;
}

function parseLine(
  bytes: Buffer,
  at: number,
  hexDigits: number,
  fail: (what: string) => Error,
): { name: string; id: string } {
  const line = bytes.toString('utf8', at, lineEnd(bytes, at));
  const id = line.slice(0, hexDigits);
  if (id.length !== hexDigits || !/^[0-9a-f]+$/.test(id) || line.charAt(hexDigits) !== ' ') {
    throw fail(`packed-refs has the line ${JSON.stringify(line.slice(0, 200))}`);
  }
  return { name: line.slice(hexDigits + 1), id };
}
