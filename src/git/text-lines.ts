/** Text whose lines are looked at in place. */
export type Lines = {
  readonly size: number;
  /** Bytes from a position on, fewer at the end. */
  read(position: number, length: number): Buffer;
};

/** Most lines are found in one such piece. */
const piece = 256;

/** Line feed. */
export const newline = 0x0a;
const numberSign = 0x23;
const caret = 0x5e;

/** Where the line begins that a position is in. */
export function lineStart(lines: Lines, position: number): number {
  for (let end = position; end > 0; ) {
    const start = Math.max(0, end - piece);
    const found = lines.read(start, end - start).lastIndexOf(newline);
    if (found >= 0) return start + found + 1;
    end = start;
  }
  return 0;
}

/** Where the line ends that a position is in: its line feed, or the end of the text. */
export function lineEnd(lines: Lines, position: number): number {
  for (let start = position; start < lines.size; start += piece) {
    const found = lines.read(start, Math.min(piece, lines.size - start)).indexOf(newline);
    if (found >= 0) return start + found;
  }
  return lines.size;
}

/** A line: where it begins and ends, and bytes that hold it, of which the first is at `from`. */
export type Line = { readonly start: number; readonly end: number; readonly bytes: Buffer; readonly from: number };

/** The line that a position is in, by a single read unless the line is long. */
export function lineAround(lines: Lines, position: number): Line {
  const from = Math.max(0, position - piece);
  const bytes = lines.read(from, 2 * piece);
  const before = position === from ? -1 : bytes.lastIndexOf(newline, position - from - 1);
  const after = bytes.indexOf(newline, position - from);
  if ((before >= 0 || from === 0) && (after >= 0 || from + bytes.length === lines.size)) {
    return { start: from + before + 1, end: from + (after < 0 ? bytes.length : after), bytes, from };
  }
  const start = lineStart(lines, position);
  const end = lineEnd(lines, position);
  return { start, end, bytes: lines.read(start, end - start), from: start };
}

/** Whether a line that begins with a byte is neither a comment nor the peeled form of a tag. */
export function isRefStart(first: number | undefined): boolean {
  return first !== numberSign && first !== caret;
}

/** The same of a line. */
export function isRefLine({ start, bytes, from }: Line): boolean {
  return isRefStart(bytes[start - from]);
}

/** Negative, zero or positive as a line from its character number `skip` on comes before, is, or comes after the given text. */
export function compareLine({ start, end, bytes, from }: Line, skip: number, text: Buffer): number {
  return bytes.compare(text, 0, text.length, start - from + skip, end - from);
}
