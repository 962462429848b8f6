/** A pattern of `like`: pieces of text with wildcards for one character, between wildcards for any number of them. */
export type LikePattern = {
  /** The pieces between `%`; a pattern without `%` has one. */
  readonly pieces: readonly Piece[];
  readonly fold: boolean;
};

/** Code points; undefined stands for any one. */
type Piece = readonly (number | undefined)[];

/**
 * Reads a pattern in which `%` stands for any text, `_` for any one character (code point), and `\` takes the next character
 * literally. `fold` disregards case, as `foldCase` does. Undefined if the pattern ends with a lone `\`.
 */
export function parseLike(pattern: string, fold: boolean): LikePattern | undefined {
  const pieces: (number | undefined)[][] = [[]];
  const characters = [...(fold ? foldCase(pattern) : pattern)];
  for (let i = 0; i < characters.length; i++) {
    const last = pieces[pieces.length - 1] as (number | undefined)[];
    const character = characters[i] as string;
    if (character === '%') pieces.push([]);
    else if (character === '_') last.push(undefined);
    else if (character !== '\\') last.push(character.codePointAt(0));
    else if (++i < characters.length) last.push((characters[i] as string).codePointAt(0));
    else return undefined;
  }
  return { pieces: pieces.filter((piece, i) => piece.length > 0 || i === 0 || i === pieces.length - 1), fold };
}

/**
 * The text with every character in lower case by the simple mappings of Unicode: those that give one code point. It is not the
 * full case folding, in which "ß" equals "ss".
 */
export function foldCase(text: string): string {
  // ASCII alone folds to itself faster, and most texts are that.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: all of ASCII is meant
  if (/^[\x00-\x7f]*$/.test(text)) return text.toLowerCase();
  let folded = '';
  for (const character of text) {
    const lower = character.toLowerCase();
    folded += isOneCodePoint(lower) ? lower : character;
  }
  return folded;
}

function isOneCodePoint(text: string): boolean {
  return text.length === 1 || (text.length === 2 && (text.codePointAt(0) as number) > 0xffff);
}

/**
 * Makes the matcher of a pattern. A piece is looked for from where the one before it ended, which is enough since `%` takes any
 * text, and by the Shift-And algorithm (Baeza-Yates and Gonnet 1992): the time is that of one pass over the text, times one for
 * every 32 characters of the longest piece, whatever text and pattern are. `goOn` is called about every millisecond of that; what it
 * throws ends it.
 */
export function likeMatcher({ pieces, fold }: LikePattern, goOn: () => void = () => {}): (text: string) => boolean {
  const first = pieces[0] ?? [];
  if (pieces.length === 1) {
    return (text) => {
      const points = pointsOf(text, fold);
      return points.length === first.length && matchesAt(points, first, 0);
    };
  }
  const last = pieces[pieces.length - 1] ?? [];
  const between = pieces.slice(1, -1).map((piece) => finder(piece, goOn));
  return (text) => {
    const points = pointsOf(text, fold);
    const end = points.length - last.length;
    if (end < first.length || !matchesAt(points, first, 0) || !matchesAt(points, last, end)) return false;
    let at = first.length;
    for (const find of between) {
      at = find(points, at, end);
      if (at < 0) return false;
    }
    return true;
  };
}

function pointsOf(text: string, fold: boolean): readonly number[] {
  const folded = fold ? foldCase(text) : text;
  const points: number[] = [];
  for (let i = 0; i < folded.length; i++) {
    const point = folded.codePointAt(i) as number;
    points.push(point);
    if (point > 0xffff) i++;
  }
  return points;
}

function matchesAt(points: readonly number[], piece: Piece, at: number): boolean {
  return piece.every((point, i) => point === undefined || point === points[at + i]);
}

/** Steps of a finder between two times that it asks whether to go on. */
const stepsUnasked = 2 ** 18;

/** Finds where the first occurrence of a piece between `from` and `end` ends; -1 if there is none. */
function finder(piece: Piece, goOn: () => void): (points: readonly number[], from: number, end: number) => number {
  const words = Math.ceil(piece.length / 32);
  const wild = new Int32Array(words);
  const masks = new Map<number, Int32Array>();
  const set = (mask: Int32Array, i: number) => {
    mask[i >>> 5] = (mask[i >>> 5] as number) | (1 << (i & 31));
  };
  for (const [i, point] of piece.entries()) if (point === undefined) set(wild, i);
  for (const point of piece) if (point !== undefined) masks.set(point, wild.slice());
  for (const [i, point] of piece.entries()) if (point !== undefined) set(masks.get(point) as Int32Array, i);
  const accept = 1 << ((piece.length - 1) & 31);
  return (points, from, end) => {
    const state = new Int32Array(words);
    let unasked = stepsUnasked;
    for (let at = from; at < end; at++) {
      unasked -= words;
      if (unasked < 0) {
        goOn();
        unasked = stepsUnasked;
      }
      const mask = masks.get(points[at] as number) ?? wild;
      let carry = 1;
      for (let word = 0; word < words; word++) {
        const before = state[word] as number;
        state[word] = ((before << 1) | carry) & (mask[word] as number);
        carry = before >>> 31;
      }
      if (((state[words - 1] as number) & accept) !== 0) return at + 1;
    }
    return -1;
  };
}

/** The text that every match begins with; of a pattern that does not fold. */
export function likePrefix({ pieces }: LikePattern): string {
  const piece = pieces[0] ?? [];
  const wild = piece.indexOf(undefined);
  return textOf(wild < 0 ? piece : piece.slice(0, wild));
}

/**
 * The longest text of which an index of substrings, or a search for one, can make use: every match holds it. With `fold` it is of
 * ASCII, and a match holds it once its own ASCII letters are in lower case.
 */
export function likeLiteral({ pieces, fold }: LikePattern): string {
  let best: number[] = [];
  for (const piece of pieces) {
    let run: number[] = [];
    for (const point of piece) {
      if (point !== undefined && (!fold || isPlain(point))) run.push(point);
      else run = [];
      if (run.length > best.length) best = run;
    }
  }
  return textOf(best);
}

/** Whether only ASCII folds to the character; U+212A, the sign of kelvin, folds to "k". */
function isPlain(point: number): boolean {
  return point < 0x80 && point !== 0x6b;
}

function textOf(points: Piece): string {
  let text = '';
  for (const point of points) if (point !== undefined) text += String.fromCodePoint(point);
  return text;
}
