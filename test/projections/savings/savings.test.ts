import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { allProjections } from '../../../projections/all.js';
import { dayMs } from '../../../projections/read-model/savings/ledger.js';
import { savingQueries, savingsOf } from '../../../projections/read-model/savings/savings.js';
import { openReadModelFile, resetProjection } from '../../../projections/running/database.js';
import { type Access, accessOf, unrestricted } from '../../../src/domain/access.js';
import { costText, pricesOf } from '../../../src/domain/savings/prices.js';
import { type Dimension, type SavingsQuery, type SavingsRow, savingsUpTo } from '../../../src/jobs/reading/savings.js';
import { noon } from '../../domain/commands.js';
import { rounds } from '../../support/rounds.js';
import { append } from '../history.js';
import { catchUp, openScratch } from '../scratch.js';
import { anyRuns, type Happened } from './any-runs.js';
import { type Counted, naive } from './naive.js';

const small = savingsOf(3);
const projections = allProjections.map((one) => (one.name === small.name ? small : one));

const table = { currency: 'EUR', label: 'machine', per_hour: { small: '0.1', large: '2.333333333' } };

const policies: readonly Access[] = [
  unrestricted('alice'),
  ...['alice', 'bob', 'dora'].map((principal) =>
    accessOf(
      {
        groups: {},
        grants: [
          { to: ['alice', 'dora'], roles: ['reader'], repositories: ['weather'] },
          { to: ['bob'], roles: ['admin'], repositories: ['weather'] },
          { to: ['bob'], roles: ['reader'], repositories: ['**'] },
        ],
      },
      principal,
    ),
  ),
];

const dimensions = fc.subarray<Dimension>(['owner', 'repository', 'script', 'day']);
const maybe = (...values: string[]) => fc.option(fc.constantFrom(...values), { nil: undefined, freq: 1 });
const anyDay = (nil: number) =>
  fc.option(
    fc.integer({ min: 0, max: 4 }).map((n) => Math.floor(noon / dayMs) + n),
    { nil },
  );

const anyQuery = fc.record({
  by: dimensions.map((those) => new Set(those)),
  owner: maybe('alice', 'bob', 'nobody'),
  repository: maybe('weather', 'climate'),
  script: maybe('forecast.py', 'rain.py'),
  firstDay: anyDay(Number.MIN_SAFE_INTEGER),
  lastDay: anyDay(Number.MAX_SAFE_INTEGER),
  access: fc.constantFrom(...policies),
  /** How much of the log, in hundredths. */
  part: fc.oneof(fc.constant(100), fc.constantFrom(...Array.from({ length: 100 }, (_, n) => n))),
});

/** What is counted for a query, in the plainest way: each row by its keys, as text. */
function expected(counted: readonly Counted[], query: SavingsQuery & { access: Access }): Record<string, unknown> {
  const rows: Record<string, Counted[]> = {};
  for (const one of counted) {
    const { access } = query;
    const answered = one.what === 'answer' || one.what === 'join';
    const known = access.knows(one.repository);
    if (!known && (answered || one.owner !== access.principal)) continue;
    const who = answered && one.who !== access.principal && !access.administers(one.repository) ? undefined : one.who;
    if (query.owner !== undefined && who !== query.owner) continue;
    if ((query.repository ?? one.repository) !== one.repository || (query.script ?? one.script) !== one.script)
      continue;
    const day = Math.floor(Date.parse(one.day) / dayMs);
    if (day < query.firstDay || day > query.lastDay) continue;
    const has = (dimension: Dimension) => query.by.has(dimension);
    const keys = [
      has('owner') ? (who ?? 'others') : '',
      has('repository') ? one.repository : '',
      has('script') ? one.script : '',
      has('day') ? one.day : '',
    ];
    const key = keys.join('|');
    rows[key] = [...(rows[key] ?? []), one];
  }
  const told = Object.entries(rows).map(([key, those]) => [key, sums(those)] as const);
  return Object.fromEntries(told.filter(([, those]) => JSON.stringify(those) !== JSON.stringify(sums([]))));
}

const nano: Record<string, bigint> = { small: 100_000_000n, large: 2_333_333_333n };

function sums(those: readonly Counted[]) {
  const amount = (wanted: (one: Counted) => boolean) => {
    const own = those.filter(wanted);
    const unpriced = own.filter(({ machine = '' }) => nano[machine] === undefined);
    return [
      own.reduce((sum, { ms }) => sum + ms, 0),
      unpriced.reduce((sum, { ms }) => sum + ms, 0),
      costText(own.reduce((sum, { ms, machine = '' }) => sum + BigInt(ms) * (nano[machine] ?? 0n), 0n)),
    ];
  };
  const number = (what: Counted['what']) => those.filter((one) => one.what === what).length;
  return {
    answers: number('answer'),
    joins: number('join'),
    saved: amount(({ what }) => what === 'answer' || what === 'join'),
    spent: amount(({ what }) => what !== 'answer' && what !== 'join'),
    noResult: amount(({ what }) => what === 'no result'),
    checks: amount(({ what }) => what === 'check'),
  };
}

function shown({ answers, joins, ...row }: SavingsRow) {
  const amount = (name: 'saved' | 'spent' | 'noResult' | 'checks') => {
    const { ms, unpricedMs, cost } = row[name];
    return [ms, unpricedMs, costText(cost)];
  };
  const [saved, spent, noResult, checks] = [amount('saved'), amount('spent'), amount('noResult'), amount('checks')];
  return { answers, joins, saved, spent, noResult, checks };
}

function keyOf({ owner, others, repository, script, day }: SavingsRow): string {
  const date = day === undefined ? '' : new Date(day * dayMs).toISOString().slice(0, 10);
  return [others ? 'others' : owner, repository, script, date].map((part) => part ?? '').join('|');
}

async function record(t: ExecutionContext, history: readonly Happened[]) {
  const scratch = await openScratch();
  // Together, so that they share commits; they come in the order in which they are appended.
  const positions = await Promise.all(history.map(({ stream, event }) => append(scratch.store, stream, event)));
  t.deepEqual(
    positions,
    positions.toSorted((a, b) => a - b),
  );
  return { scratch, positions };
}

test('what is told of any moment is what a naive recount of the log comes to', async (t) => {
  await fc.assert(
    fc.asyncProperty(anyRuns, fc.array(anyQuery, { minLength: 12, maxLength: 12 }), async (history, queries) => {
      const { scratch, positions } = await record(t, history);
      const path = scratch.path('read-model.sqlite');
      await catchUp(scratch.store, path, { projections });
      const db = openReadModelFile(path, projections);
      const savings = savingQueries(db, 3);
      for (const query of queries) {
        const length = Math.round((query.part / 100) * history.length);
        const position = length === 0 ? 0 : (positions[length - 1] as number);
        const counted = naive(history.slice(0, length));
        const prices = pricesOf(table);
        const { rows, total } = await savingsUpTo({ savings }, query.access, query, position, prices);
        const told = Object.fromEntries(rows.map((row) => [keyOf(row), shown(row)]));
        const right = expected(counted, query);
        t.deepEqual(told, query.by.size === 0 ? {} : right);
        t.deepEqual(shown(total), expected(counted, { ...query, by: new Set() })['|||'] ?? sums([]));
      }
      db.close();
      await scratch.close();
    }),
    { numRuns: rounds(8, 1_000), endOnFailure: true },
  );
});

test('however the log is cut into batches, and when only the savings are made anew, the rows are the same', async (t) => {
  await fc.assert(
    fc.asyncProperty(anyRuns, fc.integer({ min: 1, max: 7 }), async (history, batchSize) => {
      const { scratch } = await record(t, history);
      const whole = await catchUp(scratch.store, scratch.path('whole.sqlite'), { projections });
      t.deepEqual(await catchUp(scratch.store, scratch.path('cut.sqlite'), { projections, batchSize }), whole);
      // Stopped in between, and gone on with.
      const path = scratch.path('stopped.sqlite');
      await catchUp(scratch.store, path, { projections, batchSize, batches: 3 });
      t.deepEqual(await catchUp(scratch.store, path, { projections, batchSize: 5 }), whole);
      const db = openReadModelFile(path, projections);
      resetProjection(db, small);
      db.close();
      t.deepEqual(await catchUp(scratch.store, path, { projections, batchSize }), whole);
      await scratch.close();
    }),
    { numRuns: rounds(2, 200), endOnFailure: true },
  );
});

test('costs are exact and rounded once', (t) => {
  const hour = 3_600_000n;
  for (const [exact, text] of [
    [0n, '0'],
    [hour * 1_000_000_000n, '1'],
    [hour * 2_400_000_000n, '2.4'],
    [hour, '0.000000001'],
    [hour / 2n, '0.000000001'],
    [hour / 2n - 1n, '0'],
    [-hour / 2n, '-0.000000001'],
    [-1n, '0'],
    [hour * 10n ** 30n, '1000000000000000000000'],
  ] as const) {
    t.is(costText(exact), text);
  }
  // A third of an hour a thousand times at a price that no binary fraction is.
  const { priceOf } = pricesOf({ ...table, other: '0.1' });
  const price = priceOf(new Map([['machine', 'unknown']])) ?? t.fail();
  t.is(costText(Array.from({ length: 3_000 }, () => 1_200_000n * BigInt(price)).reduce((a, b) => a + b)), '100');
  t.is(pricesOf(table).priceOf(new Map()), undefined);
  t.is(pricesOf({ ...table, other: '0' }).priceOf(new Map()), 0n);
});
