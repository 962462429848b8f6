/** Text whose lines are looked at in place. */
export type Lines = {
  readonly size: number;
  /** Bytes from a position on, fewer at the end. */
  read(position: number, length: number): Buffer;
};

/** Most lines are found in one such piece. */
const piece = 256;

const newline = 0x0a;
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

/** Whether the line that begins at a position is neither a comment nor the peeled form of a tag. */
export function isRefLine(lines: Lines, position: number): boolean {
  const [first] = lines.read(position, 1);
  return first !== numberSign && first !== caret;
}

/** Negative, zero or positive as the text between two positions comes before, is, or comes after the given bytes. */
export function compareLine(lines: Lines, start: number, end: number, bytes: Buffer): number {
  return Buffer.compare(lines.read(start, end - start), bytes);
}
