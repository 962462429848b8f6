/** What Memoir needs of a commit object. */
export type Commit = {
  readonly tree: string;
  readonly parents: readonly string[];
  /** Time of the commit in seconds since 1970; 0 if the object does not say it properly, as git has it. */
  readonly date: number;
};

/** Where in the data of a commit things are that have places of their own. */
export type CommitShape = {
  /** Place of the hexadecimal digits of the tree. */
  readonly treeAt: number;
  /** Place of those of the first parent, of which there may be none. */
  readonly parentsAt: number;
  /** Bytes from those of one parent to those of the next. */
  readonly parentStride: number;
  readonly parents: number;
  /** Time of the commit; see `Commit`. */
  readonly date: number;
};

/**
 * Finds what Memoir needs in a commit object, without a string: histories have very many.
 * @param fail - makes the error to throw for one that has no tree or a malformed parent
 */
export function shapeOfCommit(data: Buffer, hexDigits: number, fail: (what: string) => Error): CommitShape {
  const line = (word: Buffer, at: number): boolean => {
    if (!startsWith(data, at, word)) return false;
    const start = at + word.length;
    let end = start;
    while (end < start + hexDigits && hexValue(data[end] ?? 0) < 16) end++;
    if (end < start + hexDigits || data[end] !== lineEnd) {
      throw fail(`its line "${word.toString('latin1').trimEnd()}" is malformed`);
    }
    return true;
  };
  if (!line(treeWord, 0)) throw fail('it has no tree');
  const first = treeWord.length + hexDigits + 1;
  const parentStride = parentWord.length + hexDigits + 1;
  let parents = 0;
  while (line(parentWord, first + parents * parentStride)) parents++;
  const date = parseDate(data, first + parents * parentStride);
  return { treeAt: treeWord.length, parentsAt: first + parentWord.length, parentStride, parents, date };
}

const lineEnd = 10;
const treeWord = Buffer.from('tree ');
const parentWord = Buffer.from('parent ');
const authorWord = Buffer.from('author ');
const committerWord = Buffer.from('committer ');

function startsWith(data: Buffer, at: number, word: Buffer): boolean {
  for (let i = 0; i < word.length; i++) if (data[at + i] !== word[i]) return false;
  return true;
}

/** Values of hexadecimal digits by their codes; 16 for what is none. */
const hexValues = new Uint8Array(256).fill(16);
for (const digit of '0123456789abcdefABCDEF') hexValues[digit.charCodeAt(0)] = Number.parseInt(digit, 16);
const hexValue = (code: number): number => hexValues[code] ?? 16;

/** Writes the bytes that hexadecimal digits stand for, as many as the target has. */
export function hexToBytes(data: Buffer, at: number, target: Buffer): void {
  for (let i = 0; i < target.length; i++) {
    target[i] = hexValue(data[at + i * 2] ?? 0) * 16 + hexValue(data[at + i * 2 + 1] ?? 0);
  }
}

/** Reads a commit object. @throws as `shapeOfCommit` */
export function parseCommit(data: Buffer, hexDigits: number, fail: (what: string) => Error): Commit {
  const shape = shapeOfCommit(data, hexDigits, fail);
  const id = (at: number) => data.toString('latin1', at, at + hexDigits).toLowerCase();
  const parents = Array.from({ length: shape.parents }, (_, i) => id(shape.parentsAt + i * shape.parentStride));
  return { tree: id(shape.treeAt), parents, date: shape.date };
}

/** The committer's time as git's `parse_commit_date` finds it: behind the last ">" of its line, which follows that of the author. */
function parseDate(data: Buffer, start: number): number {
  if (!startsWith(data, start, authorWord)) return 0;
  const author = data.indexOf(lineEnd, start);
  if (author < 0 || !startsWith(data, author + 1, committerWord)) return 0;
  const end = data.indexOf(lineEnd, author + 1);
  if (end < 0) return 0;
  let at = end - 1;
  while (at > author && data[at] !== 62) at--;
  at++;
  while (at < end && isSpace(data[at] ?? 0)) at++;
  const isNegative = data[at] === minus;
  if (isNegative) at++;
  let seconds = 0;
  for (let digit = (data[at] ?? 0) - 48; at < end && digit >= 0 && digit < 10; digit = (data[++at] ?? 0) - 48) {
    seconds = seconds * 10 + digit;
  }
  // git counts without a sign, up to the largest number of 64 bits.
  return (isNegative && seconds > 0) || seconds > latestDate ? latestDate : seconds;
}

const minus = 45;

/** Stands for all later ones: exact in a number of JavaScript, and so is the date of the last of a history of as many commits as there can be. */
const latestDate = 2 ** 52;

const isSpace = (code: number) => code === 32 || (code >= 9 && code <= 13);

/** Where the message of a commit begins, behind the first empty line; undefined if there is none. */
export function messageStart(data: Buffer): number | undefined {
  // Heads of commits are so short that a call takes longer than the loop.
  for (let at = 1; at < data.length; at++) if (data[at] === lineEnd && data[at - 1] === lineEnd) return at + 1;
  return undefined;
}

/**
 * The object that an annotated tag names.
 * @param fail - makes the error to throw for a malformed tag
 */
export function parseTag(data: Buffer, hexDigits: number, fail: (what: string) => Error): string {
  const line = data.toString('latin1', 0, hexDigits + 8);
  const id = line.slice(7, -1);
  if (!line.startsWith('object ') || !line.endsWith('\n') || !/^[0-9a-fA-F]+$/.test(id) || id.length !== hexDigits) {
    throw fail('it is a tag without an object');
  }
  return id.toLowerCase();
}
