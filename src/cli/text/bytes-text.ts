/** A number of bytes for people, with at most three digits: `0 B`, `999 B`, `1.23 kB`, `45.6 GB`. */
export function bytesText(bytes: bigint | number): string {
  let value = Number(bytes);
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1_000;
    unit += 1;
  }
  return `${unit === 0 ? value : Number(value.toPrecision(3))} ${units[unit]}`;
}
