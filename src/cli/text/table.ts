import Table from 'cli-table3';
import { styled } from './style.js';

const noLines = Object.fromEntries(
  [
    ...['top', 'top-mid', 'top-left', 'top-right', 'bottom', 'bottom-mid', 'bottom-left', 'bottom-right'],
    ...['left', 'left-mid', 'mid', 'mid-mid', 'right', 'right-mid', 'middle'],
  ].map((name) => [name, '']),
);

/** Rows in columns of their own width, two spaces apart, without lines. Cells must be printable already. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return lines([head.map((title) => styled('bold', title)), ...rows]);
}

/** Names and values in two columns; pairs without a value are left out. */
export function sheet(pairs: readonly (readonly [name: string, value: string])[]): string {
  return lines(pairs.filter(([, value]) => value !== '').map(([name, value]) => [styled('dim', name), value]));
}

function lines(rows: readonly (readonly string[])[]): string {
  const grid = new Table({
    chars: noLines,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 2 },
  });
  grid.push(...rows.map((row) => [...row]));
  return grid
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}
