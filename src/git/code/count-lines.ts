/** Most lines that may differ, in both texts together, for them to be counted: the work goes by the square of it. */
const mostChanges = 4_000;

/** Steps of work between two turns of others. */
const stride = 200_000;

/** Bytes at the beginning in which a NUL makes a file one of no lines, as git has it. */
const looked = 8_000;

/** How many lines a change took away and added. */
export type LineCounts = { readonly added: number; readonly removed: number };

/** Whether bytes are text, as git tells it: there is no NUL near the beginning. */
export function isText(bytes: Buffer): boolean {
  return !bytes.subarray(0, looked).includes(0);
}

/** How many lines a text has; what stands behind the last line break is one. */
export function lineCount(bytes: Buffer): number {
  return linesOf(bytes).length;
}

/**
 * How many lines make one text of another, as few as that takes. The shortest way is found greedily (E. W. Myers, "An O(ND) difference algorithm and its variations",
 * 1986), of which only the length is kept: what was added and removed follows from that and from the numbers of lines. Yields now and then.
 * @returns undefined if it takes too many
 */
export function* countLines(one: Buffer, other: Buffer): Generator<undefined, LineCounts | undefined> {
  const numbers = new Map<string, number>();
  const numbered = (bytes: Buffer) =>
    linesOf(bytes).map((line) => {
      const number = numbers.get(line) ?? numbers.size;
      numbers.set(line, number);
      return number;
    });
  let [a, b] = [numbered(one), numbered(other)];
  yield;
  let same = 0;
  while (same < a.length && same < b.length && a[same] === b[same]) same++;
  [a, b] = [a.slice(same), b.slice(same)];
  while (a.length > 0 && b.length > 0 && a.at(-1) === b.at(-1)) {
    a.pop();
    b.pop();
  }
  const changes = yield* shortest(a, b);
  if (changes === undefined) return undefined;
  const more = b.length - a.length;
  return { added: (changes + more) / 2, removed: (changes - more) / 2 };
}

/** Length of the shortest way from one to another by adding and removing. */
function* shortest(a: readonly number[], b: readonly number[]): Generator<undefined, number | undefined> {
  const [n, m] = [a.length, b.length];
  const most = Math.min(n + m, mostChanges);
  // How far each diagonal was come to; one to each side is looked at.
  const furthest = new Int32Array(2 * most + 3);
  const zero = most + 1;
  let steps = 0;
  for (let changes = 0; changes <= most; changes++) {
    for (let k = -changes; k <= changes; k += 2) {
      const [below, above] = [furthest[zero + k - 1] as number, furthest[zero + k + 1] as number];
      let x = k === -changes || (k !== changes && below < above) ? above : below + 1;
      while (x < n && x - k < m && a[x] === b[x - k]) {
        x++;
        steps++;
      }
      if (x >= n && x - k >= m) return changes;
      furthest[zero + k] = x;
    }
    steps += changes;
    if (steps < stride) continue;
    steps = 0;
    yield;
  }
  return undefined;
}

/** The lines of bytes as latin1, each with its line break. */
function linesOf(bytes: Buffer): string[] {
  return bytes.toString('latin1').match(/[^\n]*\n|[^\n]+$/g) ?? [];
}
