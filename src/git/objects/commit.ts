/** What Memoir needs of a commit object. */
export type Commit = {
  readonly tree: string;
  readonly parents: readonly string[];
  /** Time of the commit in seconds since 1970; 0 if the object does not say it properly, as git has it. */
  readonly date: number;
};

/**
 * Reads a commit object.
 * @param fail - makes the error to throw for one that has no tree or a malformed parent
 */
export function parseCommit(data: Buffer, hexDigits: number, fail: (what: string) => Error): Commit {
  let at = 0;
  const id = (word: string): string | undefined => {
    const start = at + word.length + 1;
    if (data.toString('latin1', at, start) !== `${word} `) return undefined;
    const hex = data.toString('latin1', start, start + hexDigits);
    if (data[start + hexDigits] !== 10 || !/^[0-9a-fA-F]+$/.test(hex)) throw fail(`its line "${word}" is malformed`);
    at = start + hexDigits + 1;
    return hex.toLowerCase();
  };
  const tree = id('tree');
  if (tree === undefined) throw fail('it has no tree');
  const parents: string[] = [];
  for (let parent = id('parent'); parent !== undefined; parent = id('parent')) parents.push(parent);
  return { tree, parents, date: parseDate(data, at) };
}

/** The committer's time as git's `parse_commit_date` finds it. */
function parseDate(data: Buffer, start: number): number {
  const author = data.indexOf(10, start);
  if (data.toString('latin1', start, start + 7) !== 'author ' || author < 0) return 0;
  const end = data.indexOf(10, author + 1);
  const line = data.toString('latin1', author + 1, end < 0 ? data.length : end);
  if (!line.startsWith('committer ')) return 0;
  const digits = /^\s*(\d+)/.exec(line.slice(line.lastIndexOf('>') + 1));
  const seconds = Number(digits?.[1] ?? 0);
  return Number.isSafeInteger(seconds) ? seconds : 0;
}

/** The message of a commit: what follows the first empty line; undefined if there is none. */
export function messageOf(data: Buffer): string | undefined {
  const at = data.indexOf('\n\n');
  return at < 0 ? undefined : data.toString('utf8', at + 2);
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
