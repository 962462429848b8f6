/** Bits of a date that one pass looks at: so many counters stay in the nearest cache of a processor. */
const digitBits = 11;
const digits = 1 << digitBits;

/** Rows and, beside each, what it is sorted by. */
type Keyed = { readonly rows: Uint32Array; readonly keys: Uint32Array };

/** Rows in ascending order of their dates: a radix sort, unless the dates lie more than 136 years apart. */
export function sortByDate(dates: Float64Array): Uint32Array {
  const count = dates.length;
  let least = Number.POSITIVE_INFINITY;
  let most = Number.NEGATIVE_INFINITY;
  for (let row = 0; row < count; row++) {
    const date = dates[row] ?? 0;
    if (date < least) least = date;
    if (date > most) most = date;
  }
  const rows = new Uint32Array(count);
  for (let row = 0; row < count; row++) rows[row] = row;
  const span = most - least;
  if (span >= 2 ** 32) return rows.sort((a, b) => (dates[a] ?? 0) - (dates[b] ?? 0) || a - b);
  const keys = new Uint32Array(count);
  for (let row = 0; row < count; row++) keys[row] = (dates[row] ?? 0) - least;
  let from: Keyed = { rows, keys };
  let to: Keyed = { rows: new Uint32Array(count), keys: new Uint32Array(count) };
  for (let shift = 0; shift < 32 && 2 ** shift <= span; shift += digitBits) {
    sortByDigit(from, to, shift);
    [from, to] = [to, from];
  }
  return from.rows;
}

function sortByDigit({ rows, keys }: Keyed, to: Keyed, shift: number): void {
  const starts = new Uint32Array(digits + 1);
  for (let i = 0; i < keys.length; i++) {
    const next = (((keys[i] ?? 0) >>> shift) & (digits - 1)) + 1;
    starts[next] = (starts[next] ?? 0) + 1;
  }
  for (let i = 0; i < digits; i++) starts[i + 1] = (starts[i + 1] ?? 0) + (starts[i] ?? 0);
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i] ?? 0;
    const digit = (key >>> shift) & (digits - 1);
    const at = starts[digit] ?? 0;
    to.rows[at] = rows[i] ?? 0;
    to.keys[at] = key;
    starts[digit] = at + 1;
  }
}
