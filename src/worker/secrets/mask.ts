/** What stands in the place of a value. */
const stars = Buffer.from('***');

/** Shortest line of a value of several that is hidden by itself too, in bytes. */
const shortestLine = 4;

/** Hides values in what passes through it. */
export type Mask = {
  /** What may be told of some more bytes: without values, and without what may be the beginning of one. */
  push(bytes: Uint8Array): Buffer;
  /** What was held back, when nothing follows. */
  end(): Buffer;
};

/** The same for a text as a whole. */
export type MaskText = (text: string) => string;

/**
 * All that is hidden of values: they themselves, what is left of them without white space at both ends, the lines of those that have several, and all
 * of these as JSON writes them. The longest first.
 */
export function hiddenOf(values: readonly Uint8Array[]): readonly Buffer[] {
  const hidden = new Map<string, Buffer>();
  const add = (bytes: Buffer) => {
    if (bytes.length === 0) return;
    const json = Buffer.from(JSON.stringify(bytes.toString('utf8')).slice(1, -1));
    for (const one of [bytes, json]) hidden.set(one.toString('latin1'), one);
  };
  for (const value of values) {
    const text = Buffer.from(value).toString('latin1');
    add(Buffer.from(value));
    add(Buffer.from(text.replace(/^[ \t\r\n]+|[ \t\r\n]+$/g, ''), 'latin1'));
    const lines = text.split(/\r?\n/);
    if (lines.length > 1) for (const line of lines) if (line.length >= shortestLine) add(Buffer.from(line, 'latin1'));
  }
  return [...hidden.values()].sort((a, b) => b.length - a.length);
}

/**
 * Makes what hides values wherever they stand, also where pieces end within them, and where they overlap. What is held back is never longer than
 * the longest.
 */
export function openMask(hidden: readonly Buffer[]): Mask {
  const byFirst = new Map<number, Buffer[]>();
  for (const one of hidden) {
    const first = one[0] as number;
    byFirst.set(first, [...(byFirst.get(first) ?? []), one]);
  }
  let held = Buffer.alloc(0);
  /** How many bytes of what is held back belong to a value that began before it. */
  let covered = 0;

  function take(bytes: Buffer, ending: boolean): Buffer {
    const told: Buffer[] = [];
    let plain = covered;
    let until = covered;
    let at = 0;
    for (; at < bytes.length; at++) {
      const begun = byFirst.get(bytes[at] as number);
      if (!begun) continue;
      const left = bytes.length - at;
      if (!ending && begun.some((one) => one.length > left && isBeginning(one, bytes, at, left))) break;
      const value = begun.find((one) => one.length <= left && isBeginning(one, bytes, at, one.length));
      if (!value) continue;
      if (at >= until) told.push(bytes.subarray(plain, at), stars);
      until = Math.max(until, at + value.length);
      plain = until;
    }
    if (plain < at) told.push(bytes.subarray(plain, at));
    held = Buffer.from(bytes.subarray(at));
    covered = Math.max(0, until - at);
    return Buffer.concat(told);
  }

  return {
    push: (bytes) => take(held.length === 0 ? Buffer.from(bytes) : Buffer.concat([held, bytes]), false),
    end() {
      const rest = take(held, true);
      covered = 0;
      return rest;
    },
  };
}

/** Whether a value begins with some bytes. */
function isBeginning(value: Buffer, bytes: Buffer, at: number, length: number): boolean {
  return bytes.compare(value, 0, length, at, at + length) === 0;
}

/** Makes what hides values in texts. */
export function maskText(hidden: readonly Buffer[]): MaskText {
  if (hidden.length === 0) return (text) => text;
  return (text) => {
    const mask = openMask(hidden);
    return Buffer.concat([mask.push(Buffer.from(text)), mask.end()]).toString('utf8');
  };
}
