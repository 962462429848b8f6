/** So few ids are in order sooner than the buckets are counted. */
const few = 4_096;

/** Rows of a table of raw ids in ascending order of id: buckets by the first two bytes, then an insertion sort in each. */
export function sortIds(ids: Buffer, count: number, bytes: number): Uint32Array {
  if (count < few) {
    const texts = Array.from({ length: count }, (_, row) => ids.toString('latin1', row * bytes, (row + 1) * bytes));
    const rows = Uint32Array.from(texts.keys());
    return rows.sort((a, b) => ((texts[a] ?? '') < (texts[b] ?? '') ? -1 : 1));
  }
  const starts = new Uint32Array(65_537);
  for (let row = 0; row < count; row++) {
    const bucket = ids.readUInt16BE(row * bytes) + 1;
    starts[bucket] = (starts[bucket] ?? 0) + 1;
  }
  for (let i = 0; i < 65_536; i++) starts[i + 1] = (starts[i + 1] ?? 0) + (starts[i] ?? 0);
  const sorted = new Uint32Array(count);
  const filled = starts.slice();
  for (let row = 0; row < count; row++) {
    const bucket = ids.readUInt16BE(row * bytes);
    const first = starts[bucket] ?? 0;
    let at = filled[bucket] ?? 0;
    filled[bucket] = at + 1;
    while (at > first && isBefore(ids, row, sorted[at - 1] ?? 0, bytes)) {
      sorted[at] = sorted[at - 1] ?? 0;
      at--;
    }
    sorted[at] = row;
  }
  return sorted;
}

function isBefore(ids: Buffer, a: number, b: number, bytes: number): boolean {
  const difference = ids.readUInt32BE(a * bytes + 2) - ids.readUInt32BE(b * bytes + 2);
  if (difference !== 0) return difference < 0;
  return ids.compare(ids, b * bytes, (b + 1) * bytes, a * bytes, (a + 1) * bytes) < 0;
}
