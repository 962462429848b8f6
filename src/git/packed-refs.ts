import { createPageCache, openPagedFile, type PagedFile } from './objects/paged-file.js';
import { errno } from './problem.js';
import { followReplaced } from './replaced-file.js';
import {
  compareLine,
  isRefLine,
  isRefStart,
  type Line,
  type Lines,
  lineAround,
  lineEnd,
  newline,
} from './text-lines.js';

/** The `packed-refs` file of a repository as it is at the moment of each call. */
export type PackedRefs = {
  /** Object id that the file gives for a full ref name. */
  get(name: string): string | undefined;
  /** All refs of the file in order of name. */
  entries(): Iterable<{ name: string; id: string }>;
  close(): void;
};

/** The lines of the file, which is open for them. */
type Snapshot = { readonly lines: Lines; close(): void };

const space = 0x20;

/** Bytes of the file that are kept in memory. */
const keptBytes = 4 * 1024 * 1024;

const missing: Snapshot = { lines: linesOf(Buffer.alloc(0)), close: () => undefined };

/**
 * The packed refs at a path; the file need not exist. It is searched in place, and kept open while it stays the same.
 * @param now - wall-clock time in milliseconds
 * @param fail - makes the error to throw for a malformed file
 */
export function openPackedRefs(
  path: string,
  hexDigits: number,
  now: () => number,
  fail: (what: string) => Error,
): PackedRefs {
  function load(): Snapshot | undefined {
    let file: PagedFile;
    try {
      file = openPagedFile(path, createPageCache(keptBytes));
    } catch (error) {
      if (errno(error) === 'ENOENT') return undefined;
      throw error;
    }
    return { lines: sorted(file, hexDigits, fail), close: () => file.close() };
  }

  const file = followReplaced(path, now, load, missing);
  const lines = () => file.current().lines;

  return {
    get(name) {
      const from = lines();
      return from.size === 0 ? undefined : search(from, Buffer.from(name), hexDigits, fail);
    },
    *entries() {
      const from = lines();
      const whole = linesOf(from.read(0, from.size));
      for (const line of refLines(whole)) yield parseLine(line, hexDigits, fail);
    },
    close: file.close,
  };
}

function linesOf(bytes: Buffer): Lines {
  return { size: bytes.length, read: (position, length) => bytes.subarray(position, position + length) };
}

/** Binary search over the lines, as git itself does it; a line of a peeled tag (`^…`) belongs to the line before. */
function search(lines: Lines, name: Buffer, hexDigits: number, fail: (what: string) => Error): string | undefined {
  let low = 0;
  let high = lines.size;
  while (low < high) {
    let line = lineAround(lines, Math.floor((low + high) / 2));
    while (line.start > low && !isRefLine(line)) line = lineAround(lines, line.start - 1);
    if (!isRefLine(line)) {
      low = line.end + 1;
      continue;
    }
    if (line.end - line.start < hexDigits + 2) throw fail('packed-refs has a line that is too short');
    const order = compareLine(line, hexDigits + 1, name);
    if (order === 0) return parseLine(line, hexDigits, fail).id;
    if (order > 0) high = line.start;
    else low = line.end + 1;
  }
  return undefined;
}

function* refLines(lines: Lines): Generator<Line> {
  for (let at = 0; at < lines.size; ) {
    const line = lineAround(lines, at);
    if (isRefLine(line)) yield line;
    at = line.end + 1;
  }
}

/** The file's lines in order of name; files of old git versions, and those that people edited, do not promise it. */
function sorted(file: PagedFile, hexDigits: number, fail: (what: string) => Error): Lines {
  const header = file.read(0, lineEnd(file, 0)).toString('latin1');
  if (header.startsWith('# pack-refs with:') && header.split(' ').includes('sorted')) return file;
  const whole = file.read(0, file.size);
  if (isSorted(whole, hexDigits)) return file;
  const found: { name: Buffer; line: Buffer }[] = [];
  for (const line of refLines(linesOf(whole))) {
    parseLine(line, hexDigits, fail);
    const bytes = line.bytes.subarray(line.start - line.from, line.end - line.from);
    found.push({ name: bytes.subarray(hexDigits + 1), line: bytes });
  }
  found.sort((a, b) => Buffer.compare(a.name, b.name));
  return linesOf(Buffer.concat(found.flatMap(({ line }) => [line, Buffer.from('\n')])));
}

/**
 * Whether refs are sound and in order, as they nearly always are though JGit and old versions of git do not say so. Byte by byte, since
 * two calls of Buffer's own for each line take several times as long, on the thread that answers calls.
 */
function isSorted(whole: Buffer, hexDigits: number): boolean {
  let before = { name: 0, end: 0 };
  for (let start = 0; start < whole.length; ) {
    let end = start;
    while (end < whole.length && whole[end] !== newline) end++;
    if (isRefStart(whole[start])) {
      const name = start + hexDigits + 1;
      if (name >= end || whole[name - 1] !== space || !isBefore(whole, before, { name, end })) return false;
      before = { name, end };
    }
    start = end + 1;
  }
  return true;
}

/** Where a name begins and ends. */
type Span = { readonly name: number; readonly end: number };

function isBefore(whole: Buffer, one: Span, other: Span): boolean {
  let i = one.name;
  let j = other.name;
  while (i < one.end && j < other.end && whole[i] === whole[j]) {
    i++;
    j++;
  }
  return j < other.end && (i === one.end || (whole[i] as number) < (whole[j] as number));
}

function parseLine(
  { start, end, bytes, from }: Line,
  hexDigits: number,
  fail: (what: string) => Error,
): { name: string; id: string } {
  const line = bytes.toString('utf8', start - from, end - from);
  const id = line.slice(0, hexDigits);
  if (id.length !== hexDigits || !/^[0-9a-f]+$/.test(id) || line.charAt(hexDigits) !== ' ') {
    throw fail(`packed-refs has the line ${JSON.stringify(line.slice(0, 200))}`);
  }
  return { name: line.slice(hexDigits + 1), id };
}
