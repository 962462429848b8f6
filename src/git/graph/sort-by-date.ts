const digits = 1 << 16;

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
  if (most - least >= 2 ** 32) return rows.sort((a, b) => (dates[a] ?? 0) - (dates[b] ?? 0) || a - b);
  const keys = new Uint32Array(count);
  for (let row = 0; row < count; row++) keys[row] = (dates[row] ?? 0) - least;
  return sortByDigit(sortByDigit(rows, keys, 0), keys, 16);
}

function sortByDigit(rows: Uint32Array, keys: Uint32Array, shift: number): Uint32Array {
  const starts = new Uint32Array(digits + 1);
  for (let i = 0; i < keys.length; i++) {
    const digit = ((keys[i] ?? 0) >>> shift) & (digits - 1);
    starts[digit + 1] = (starts[digit + 1] ?? 0) + 1;
  }
  for (let i = 0; i < digits; i++) starts[i + 1] = (starts[i + 1] ?? 0) + (starts[i] ?? 0);
  const sorted = new Uint32Array(rows.length);
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i] ?? 0;
    const digit = ((keys[row] ?? 0) >>> shift) & (digits - 1);
    const at = starts[digit] ?? 0;
    sorted[at] = row;
    starts[digit] = at + 1;
  }
  return sorted;
}
