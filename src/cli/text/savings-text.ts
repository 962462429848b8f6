import { durationMs } from '@bufbuild/protobuf/wkt';
import {
  type GetSavingsResponse,
  type RunTime,
  SavingsDimension,
  type SavingsRow,
} from '../../../gen/memoir/jobs/v1/savings_pb.js';
import { printable } from './printable.js';
import { table } from './table.js';

const columns: readonly (readonly [SavingsDimension, string, (row: SavingsRow) => string])[] = [
  [SavingsDimension.DAY, 'DAY', ({ day }) => day],
  [SavingsDimension.OWNER, 'OWNER', ({ owner, others }) => (others ? '(others)' : printable(owner))],
  [SavingsDimension.REPOSITORY, 'REPOSITORY', ({ repository }) => printable(repository)],
  [SavingsDimension.SCRIPT, 'SCRIPT', ({ script }) => printable(script)],
];

/** What was spent and saved as people read it: one line a row, and the total below. */
export function savingsTable({ rows, total, currency }: GetSavingsResponse, by: readonly SavingsDimension[]): string {
  const apart = columns.filter(([dimension]) => by.includes(dimension));
  const costs = currency === '' ? [] : [`SAVED ${printable(currency)}`, `SPENT ${printable(currency)}`];
  const head = [
    ...apart.map(([, title]) => title),
    ...['ANSWERS', 'JOINED', 'SAVED', 'SPENT', 'WITHOUT RESULT', 'ON CHECKS'],
    ...costs,
  ];
  const cells = (row: SavingsRow) => [
    String(row.answers),
    String(row.joins),
    ...[row.saved, row.spent, row.spentWithoutResult, row.spentOnChecks].map(timeText),
    ...(costs.length > 0 ? [row.saved, row.spent].map(costCell) : []),
  ];
  const lines = rows.map((row) => [...apart.map(([, , text]) => text(row)), ...cells(row)]);
  const last = total && [...apart.map((_, i) => (i === 0 ? 'TOTAL' : '')), ...cells(total)];
  return table(head, [...lines, ...(last ? [last] : [])]);
}

function timeText(time: RunTime | undefined): string {
  return runTimeText(time?.time ? durationMs(time.time) : 0);
}

/** A time of runs: `0`, `4.2 s`, `3 min 20 s`, `12 h 5 min`. */
export function runTimeText(ms: number): string {
  const seconds = Math.floor(ms / 1_000);
  if (ms < 60_000) return ms === 0 ? '0' : `${Number((ms / 1_000).toFixed(3))} s`;
  const [hours, minutes] = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60];
  return hours === 0 ? `${minutes} min ${seconds % 60} s` : `${hours} h ${minutes} min`;
}

/** A cost to the hundredth, and a sign where some time has no price. */
function costCell(time: RunTime | undefined): string {
  const unpriced = time?.unpriced ? durationMs(time.unpriced) : 0;
  if (time?.cost === undefined) return 'no price';
  return `${hundredths(time.cost)}${unpriced === 0 ? '' : ` (and ${runTimeText(unpriced)} without price)`}`;
}

/** A decimal number to two digits after the point, half rounded up. */
export function hundredths(text: string): string {
  const [, sign = '', whole = '0', part = ''] = /^(-?)(\d+)\.?(\d*)$/.exec(text) ?? [];
  const up = Number(part.padEnd(3, '0')[2]) >= 5 ? 1n : 0n;
  const digits = (BigInt(whole + part.padEnd(2, '0').slice(0, 2)) + up).toString().padStart(3, '0');
  return `${sign}${digits.slice(0, -2)}.${digits.slice(-2)}`;
}
