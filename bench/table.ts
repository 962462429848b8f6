import Table from 'cli-table3';
import type { Measured } from './http2-load.js';

/** One line of a table of loads; `base` is the yardstick. */
export function row(name: string, { rate, histogram }: Measured, base?: Measured): string[] {
  const at = (percentile: number) => String(histogram.getValueAtPercentile(percentile));
  return [
    name,
    Math.round(rate).toLocaleString('en'),
    at(50),
    at(99),
    base ? `${((100 * rate) / base.rate).toFixed(1)} %` : '',
  ];
}

/** A table as text. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const made = new Table({
    head: [...head],
    style: { head: [], border: [] },
    colAligns: head.map((_, i) => (i ? 'right' : 'left')),
  });
  for (const cells of rows) made.push([...cells]);
  return made.toString();
}
