import type { ReadModel } from '../../../projections/read-model/read-model.js';
import { type EntryKind, entryKinds, type Sum } from '../../../projections/read-model/savings/ledger.js';
import type { Access } from '../../domain/access.js';
import { MemoirError } from '../../domain/errors.js';
import { compareText } from '../../domain/filters/compare-text.js';
import { remembering } from '../../domain/remembering.js';
import type { Prices } from '../../domain/savings/prices.js';
import type { Position } from '../../eventstore/port.js';
import { pace } from '../pace.js';

/** Most rows that are told apart. */
const mostRows = 100_000;

/** Blocks and single entries that are read at once. */
const blocksAtOnce = 4;
const entriesAtOnce = 4_096;

/** By what savings can be told apart. */
export type Dimension = 'owner' | 'repository' | 'script' | 'day';

/** Which savings are wanted. Days are counted from 1970-01-01 in UTC, both ends included. */
export type SavingsQuery = {
  readonly by: ReadonlySet<Dimension>;
  readonly owner?: string | undefined;
  readonly repository?: string | undefined;
  readonly script?: string | undefined;
  readonly firstDay: number;
  readonly lastDay: number;
};

/** Time of runs. */
export type Amount = {
  ms: number;
  /** What of it has no price. */
  unpricedMs: number;
  /** What the rest costs, as `costText` takes it. */
  cost: bigint;
};

/** What was spent and saved of one kind. */
export type SavingsRow = {
  /** Undefined where they are not told apart, and of others. */
  readonly owner: string | undefined;
  /** Whether it is what was saved for principals who are not told. */
  readonly others: boolean;
  readonly repository: string | undefined;
  readonly script: string | undefined;
  readonly day: number | undefined;
  answers: number;
  joins: number;
  readonly saved: Amount;
  /** All runs; of them those without a result, and second runs. */
  readonly spent: Amount;
  readonly noResult: Amount;
  readonly checks: Amount;
};

/** What was spent and saved. */
export type Savings = {
  /** By day, the earliest first, then the most saved first. */
  readonly rows: readonly SavingsRow[];
  readonly total: SavingsRow;
  /** Whether answers were left out because it is not told who got them. */
  readonly answersLeftOut: boolean;
};

type Keys = Pick<SavingsRow, 'owner' | 'others' | 'repository' | 'script' | 'day'>;

/** Whether entries of a party count, and as whose. */
type Seen = 'hidden' | 'unnamed' | 'named';

/**
 * What runs took and what answers saved up to a position of the log, as far as somebody may know: in repositories whose jobs it may read, and by its own jobs
 * elsewhere. Who was answered is named to itself and to who administers the repository; others are summed up together, or left out where one is
 * asked for. Gives way to other work every few milliseconds.
 * @throws MemoirError RESOURCE_EXHAUSTED if more rows are asked for than are told apart
 */
export async function savingsUpTo(
  { savings }: Pick<ReadModel, 'savings'>,
  access: Access,
  query: SavingsQuery,
  position: Position,
  prices?: Prices,
): Promise<Savings> {
  const breathe = pace();
  const rows = new Map<string, SavingsRow>();
  const total = emptyRow({ owner: undefined, others: false, repository: undefined, script: undefined, day: undefined });
  const parties = remembering(savings.party);
  const priceOf = remembering((place: number) => prices?.priceOf(savings.labels(place)));
  const answersSeen = remembering((party: number) => seenAnswers(access, parties(party)));
  let answersLeftOut = false;

  /** The keys of the row that a sum belongs to; undefined if it is none of the caller's affairs, or not asked for. */
  function keysOf({ kind, party, day }: Sum): Keys | undefined {
    const { principal, repository, script } = parties(party);
    if (query.repository !== undefined && query.repository !== repository) return undefined;
    if (query.script !== undefined && query.script !== script) return undefined;
    const seen = isAnswer(kind)
      ? answersSeen(party)
      : access.reads({ owner: principal, repository })
        ? 'named'
        : 'hidden';
    if (seen === 'hidden') return undefined;
    if (query.owner !== undefined) {
      if (seen === 'unnamed' && query.owner !== access.principal) answersLeftOut = true;
      if (seen === 'unnamed' || query.owner !== principal) return undefined;
    }
    const { by } = query;
    const others = by.has('owner') && seen === 'unnamed';
    return {
      owner: by.has('owner') && !others ? principal : undefined,
      others,
      repository: by.has('repository') ? repository : undefined,
      script: by.has('script') ? script : undefined,
      day: by.has('day') ? day : undefined,
    };
  }

  function add(sum: Sum): void {
    const keys = keysOf(sum);
    if (!keys) return;
    const price = priceOf(sum.place);
    count(total, sum, price);
    if (query.by.size === 0) return;
    const key = JSON.stringify(Object.values(keys).map((value) => value ?? null));
    let row = rows.get(key);
    if (!row) {
      if (rows.size >= mostRows) throw tooMany();
      row = emptyRow(keys);
      rows.set(key, row);
    }
    count(row, sum, price);
  }

  const entries = savings.entriesUpTo(position);
  const full = savings.full(entries);
  for (let day = savings.nextDay(query.firstDay); day !== undefined && day <= query.lastDay; ) {
    for (let first = savings.nextBlock(day, 0); first !== undefined && first < full.blocks; ) {
      const last = Math.min(first + blocksAtOnce, full.blocks) - 1;
      for (const sum of savings.ofBlocks(day, first, last)) add(sum);
      await breathe();
      first = savings.nextBlock(day, last + 1);
    }
    day = savings.nextDay(day + 1);
  }
  for (let first = full.entries + 1; first <= entries; first += entriesAtOnce) {
    const last = Math.min(first + entriesAtOnce - 1, entries);
    for (const sum of savings.ofEntries(first, last, query.firstDay, query.lastDay)) add(sum);
    await breathe();
  }
  return { rows: [...rows.values()].filter(hasAny).sort(compare), total, answersLeftOut };
}

const isAnswer = (kind: EntryKind) => kind === entryKinds.reused || kind === entryKinds.joined;

function seenAnswers(access: Access, { principal, repository }: { principal: string; repository: string }): Seen {
  if (!access.knows(repository)) return 'hidden';
  return principal === access.principal || access.administers(repository) ? 'named' : 'unnamed';
}

function emptyRow(keys: Keys): SavingsRow {
  const amount = (): Amount => ({ ms: 0, unpricedMs: 0, cost: 0n });
  return { ...keys, answers: 0, joins: 0, saved: amount(), spent: amount(), noResult: amount(), checks: amount() };
}

function count(row: SavingsRow, { kind, answers, ms }: Sum, price: bigint | undefined): void {
  if (kind === entryKinds.reused) row.answers += answers;
  if (kind === entryKinds.joined) row.joins += answers;
  const amounts = isAnswer(kind)
    ? [row.saved]
    : [
        row.spent,
        ...(kind === entryKinds.noResult ? [row.noResult] : []),
        ...(kind === entryKinds.check ? [row.checks] : []),
      ];
  for (const amount of amounts) {
    amount.ms += ms;
    if (price === undefined) amount.unpricedMs += ms;
    else amount.cost += BigInt(ms) * price;
  }
}

/** Whether there is anything in a row: what was taken back leaves nothing. */
function hasAny({ answers, joins, spent }: SavingsRow): boolean {
  return answers > 0 || joins > 0 || spent.ms !== 0;
}

function compare(one: SavingsRow, other: SavingsRow): number {
  return (
    (one.day ?? 0) - (other.day ?? 0) ||
    other.saved.ms - one.saved.ms ||
    other.spent.ms - one.spent.ms ||
    Number(one.others) - Number(other.others) ||
    compareText(one.owner ?? '', other.owner ?? '') ||
    compareText(one.repository ?? '', other.repository ?? '') ||
    compareText(one.script ?? '', other.script ?? '')
  );
}

function tooMany(): MemoirError {
  return new MemoirError(
    'RESOURCE_EXHAUSTED',
    'TOO_MANY_ROWS',
    `there are more than ${mostRows} rows: tell less apart, or ask for a shorter time or one repository`,
    { field: 'by' },
  );
}
