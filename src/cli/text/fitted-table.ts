import stringWidth from 'string-width';
import { table } from './table.js';

/** A column of a table that is fitted to a terminal. */
export type FittedColumn = {
  readonly title: string;
  /** The lower, the sooner the column is left out where there is no room for all; without, it always stays. */
  readonly rank?: number;
  /** To how many characters its cells may be cut where there is no room; without, they are never cut. */
  readonly least?: number;
};

/** What a command's help says of `--wide`. */
export const wideHelp = 'print all columns whole, however wide the terminal is';

/** Characters between two columns. */
const gap = 2;

/** The width of the terminal that standard output is, in characters; without end where it is none, as for another program. */
export function outputWidth(): number {
  const { isTTY, columns } = process.stdout;
  return isTTY && columns > 0 ? columns : Number.POSITIVE_INFINITY;
}

/**
 * The rows as `table` has them, in lines of at most `width` characters: columns are left out, then cells are cut, the last ones first.
 * What can be neither may still be wider.
 */
export function fittedTable(
  columns: readonly FittedColumn[],
  rows: readonly (readonly string[])[],
  width: number,
): string {
  const natural = columns.map(({ title }, i) =>
    Math.max(...[title, ...rows.map((row) => row[i] ?? '')].map(columnWidth)),
  );
  const shown = shownColumns(columns, natural, width);
  const widths = new Map(shown.map((i) => [i, natural[i] ?? 0]));
  let excess = total([...widths.values()]) - width;
  for (const i of [...shown].reverse()) {
    const [wide, least] = [natural[i] ?? 0, leastWidth(columns[i], natural[i])];
    const taken = Math.max(0, Math.min(excess, wide - least));
    widths.set(i, wide - taken);
    excess -= taken;
  }
  return table(
    shown.map((i) => columns[i]?.title ?? ''),
    rows.map((row) => shown.map((i) => cut(row[i] ?? '', widths.get(i) ?? 0))),
  );
}

/** Which columns there is room for, if their cells are cut as far as they may be. */
function shownColumns(columns: readonly FittedColumn[], natural: readonly number[], width: number): readonly number[] {
  let shown = columns.map((_, i) => i);
  const rank = (i: number) => columns[i]?.rank ?? Number.POSITIVE_INFINITY;
  while (total(shown.map((i) => leastWidth(columns[i], natural[i]))) > width) {
    const lowest = shown.reduce((a, b) => (rank(b) < rank(a) ? b : a));
    if (rank(lowest) === Number.POSITIVE_INFINITY) break;
    shown = shown.filter((i) => i !== lowest);
  }
  return shown;
}

function leastWidth(column: FittedColumn | undefined, natural = 0): number {
  return column?.least === undefined ? natural : Math.min(natural, Math.max(column.least, columnWidth(column.title)));
}

function total(widths: readonly number[]): number {
  return widths.reduce((sum, width) => sum + width, 0) + gap * Math.max(0, widths.length - 1);
}

/** The text cut to a width; what is cut must have no styles. */
function cut(text: string, width: number): string {
  if (columnWidth(text) <= width) return text;
  let kept = '';
  let taken = 0;
  for (const { segment } of segments.segment(text)) {
    taken += columnWidth(segment);
    if (taken >= width) break;
    kept += segment;
  }
  return `${kept}…`;
}

const segments = new Intl.Segmenter('en', { granularity: 'grapheme' });

const columnWidth = (text: string) => stringWidth(text);
