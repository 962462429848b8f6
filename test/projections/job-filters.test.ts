import { join } from 'node:path';
import { type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt';
import test, { type ExecutionContext } from 'ava';
import Database from 'better-sqlite3';
import fc from 'fast-check';
import type { Job } from '../../gen/memoir/jobs/v1/job_pb.js';
import { accessPath } from '../../projections/lists/access-path.js';
import { listJobs } from '../../projections/lists/job-list.js';
import { Overdue } from '../../projections/lists/list-failures.js';
import type { ListQuery } from '../../projections/lists/list-query.js';
import { type Watched, watch } from '../../projections/lists/watched.js';
import { compareText } from '../../src/domain/filters/compare-text.js';
import { jobFields } from '../../src/domain/filters/field.js';
import { filterFromTriple } from '../../src/domain/filters/from-triple.js';
import { newestFirst, parseOrder } from '../../src/domain/filters/job-order.js';
import { filterFailure, jobTest, targetValue } from '../../src/domain/filters/matches.js';
import { parseFilters } from '../../src/domain/filters/parse-filters.js';
import { anyFilterOf } from '../domain/filters/any-filter.js';
import { naiveMatch, type Triple } from '../domain/filters/naive.js';
import { rounds } from '../support/rounds.js';
import { same } from '../support/same.js';
import { anyHistory, happen, type Told } from './history.js';
import { catchUp, openScratch } from './scratch.js';

/** A read model of random histories, and its jobs as the domain knows them, oldest first. */
async function historyOf(t: ExecutionContext, seed: number) {
  const scratch = await openScratch();
  const told: Told = new Map();
  for (const steps of fc.sample(anyHistory, { numRuns: 25, seed })) await happen(scratch.store, steps, told);
  const path = join(scratch.directory, 'read-model.sqlite');
  await catchUp(scratch.store, path);
  const db = new Database(path, { readonly: true });
  const jobs = [...told.values()]
    .filter(({ record }) => !record.deleted)
    .sort((a, b) => a.position - b.position)
    .map(({ record }) => record.job);
  t.teardown(async () => {
    db.close();
    await scratch.close();
  });
  return { db, jobs };
}

const query: ListQuery = {
  from: 'jobs',
  filters: [],
  readers: undefined,
  order: newestFirst,
  after: undefined,
  limit: 10_000,
  bytes: Number.MAX_SAFE_INTEGER,
  fields: ['uuid'],
  countTotal: true,
};

test('SQL, the domain and a naive reading agree which jobs match which filters', async (t) => {
  let evaluations = 0;
  let matches = 0;
  let some = 0;
  const operators = new Set<string>();
  for (const seed of [1, 2, 3]) {
    const { db, jobs } = await historyOf(t, seed);
    const watched = watch(db, () => false);
    t.true(jobs.length > 40);
    const anyFilters = fc.array(anyFilterOf(jobs), { minLength: 1, maxLength: 2 });
    fc.assert(
      fc.property(anyFilters, (triples) => {
        const { plain: filters } = parseFilters(triples.map((triple) => filterFromTriple(triple)));
        const { rows, total } = listJobs(db, { ...query, filters }, watched);
        const found = rows.map(({ uuid }) => uuid).sort();
        const uuids = (those: readonly Job[]) => those.map(({ uuid }) => uuid).sort();
        const naive = jobs.filter((job) => triples.every((triple) => naiveMatch(job, triple)));
        const tests = filters.map(jobTest);
        const expected = uuids(naive);
        const failure = filterFailure(filters);
        const message = JSON.stringify(triples);
        same(t, uuids(jobs.filter((job) => tests.every((matches) => matches(job)))), expected, message);
        same(t, uuids(jobs.filter((job) => failure(job) === undefined)), expected, message);
        same(t, found, expected, message);
        t.is(total, expected.length, message);
        evaluations += jobs.length * triples.length;
        matches += expected.length;
        if (expected.length > 0 && expected.length < jobs.length) some++;
        for (const [, operator] of triples) operators.add(operator);
      }),
      { numRuns: rounds(150, 500), seed },
    );
  }
  t.log(`${evaluations} evaluations, ${matches} matches, ${some} lists that hold some jobs and not others`);
  t.true(evaluations >= 10_000);
  t.true(some > (200 * rounds(150, 500)) / 500);
  t.is(operators.size, 12);
});

test('every order by every field is that of the domain, and pages put together are the whole', async (t) => {
  const { db, jobs } = await historyOf(t, 4);
  const watched = watch(db, () => false);
  const scalars = [...jobFields.values()].filter(({ kind }) => kind !== 'tree' && kind !== 'message');
  const anyKey = fc.tuple(fc.constantFrom(...scalars), fc.constantFrom('asc', 'desc'));
  const anyOrder = fc.uniqueArray(anyKey, { minLength: 1, maxLength: 3, selector: ([{ name }]) => name });
  const single = scalars.flatMap((field) => [[[field, 'asc']], [[field, 'desc']]] as const);
  const check = (keys: readonly (readonly [(typeof scalars)[number], string])[], limit: number) => {
    const text = keys.map(([{ name }, direction]) => `${name} ${direction}`).join(', ');
    const order = parseOrder(text);
    const expected = jobs
      .map((job, age) => ({ job, age }))
      .sort((a, b) => {
        for (const { field, descending } of order) {
          const { property, kind } = jobFields.get(field) ?? {};
          const valueIn = (job: Job) =>
            targetValue({ of: 'field', field, property: property ?? '', kind: kind as 'text' }, job);
          const difference = compare(valueIn(a.job), valueIn(b.job));
          if (difference !== 0) return descending ? -difference : difference;
        }
        return order.at(-1)?.descending ? b.age - a.age : a.age - b.age;
      })
      .map(({ job }) => job.uuid);
    const found: string[] = [];
    let after: ListQuery['after'];
    do {
      const page = listJobs(db, { ...query, order, limit, after, countTotal: false }, watched);
      found.push(...page.rows.map(({ uuid }) => uuid));
      after = page.next;
    } while (after);
    t.deepEqual(found, expected, text);
  };
  for (const keys of single) check(keys, 7);
  fc.assert(
    fc.property(anyOrder, fc.integer({ min: 1, max: 20 }), (keys, limit) => check(keys, limit)),
    { numRuns: rounds(40, 100) },
  );
});

test('what a list shows is what its reader may read, by every way in which jobs are come by', async (t) => {
  const { db, jobs } = await historyOf(t, 5);
  const watched = watch(db, () => false);
  const oneOf = (field: string, values: readonly string[]) =>
    fc
      .tuple(fc.constantFrom('in', 'in', 'not in'), fc.subarray([...new Set(values)]))
      .map(([operator, some]): Triple => [field, operator, some]);
  const anyFilter = fc.oneof(
    fc.constant<Triple>(['script_version', 'like', 'c0ffee0%1']),
    oneOf('owner', ['alice', 'bob', 'nobody']),
    oneOf('repository', ['weather', 'climate/long-term']),
    oneOf('state', ['Queued', 'Running', 'Failed', 'Cancelled', 'Complete']),
    oneOf('docker_image_locator', ['image:1', '']),
    oneOf(
      'uuid',
      jobs.slice(0, 20).map(({ uuid }) => uuid),
    ),
    oneOf(
      'output',
      jobs.map(({ output }) => output),
    ),
    fc
      .constantFrom(...jobs.flatMap(({ labels }) => Object.entries(labels)), ['none', ''] as const)
      .map(([name, value]): Triple => [`labels.${JSON.stringify(name)}`, '=', value]),
    fc
      .tuple(fc.constantFrom(...jobs.map(({ uuid }) => uuid)), fc.integer({ min: 1, max: 30 }))
      .map(([uuid, digits]): Triple => ['uuid', 'like', `${uuid.slice(0, digits)}%`]),
    anyFilterOf(jobs),
  );
  const anyReaders = fc.record({
    principal: fc.constantFrom('alice', 'w1', 'nobody'),
    repositories: fc.subarray(['weather', 'climate/long-term']),
  });
  const ways = new Set<string>();
  fc.assert(
    fc.property(
      fc.array(anyFilter, { maxLength: 2 }),
      fc.option(anyReaders, { nil: undefined }),
      fc.constantFrom('created_at', 'created_at desc', 'priority, created_at'),
      fc.integer({ min: 1, max: 30 }),
      (triples, readers, orderBy, limit) => {
        const { plain: filters } = parseFilters(triples.map((triple) => filterFromTriple(triple)));
        const order = parseOrder(orderBy);
        const asked = { ...query, filters, readers, order, limit };
        ways.add(accessPath(asked).by);
        const may = ({ owner, claimedBy, repository }: Job) =>
          !readers || [owner, claimedBy].includes(readers.principal) || readers.repositories.includes(repository);
        const expected = jobs.filter((job) => may(job) && triples.every((triple) => naiveMatch(job, triple)));
        const found: string[] = [];
        let after: ListQuery['after'];
        do {
          const page = listJobs(db, { ...asked, after }, watched);
          t.is(page.total, expected.length);
          found.push(...page.rows.map(({ uuid }) => uuid));
          after = page.next;
        } while (after);
        const message = JSON.stringify([triples, readers, orderBy]);
        t.deepEqual(found.toSorted(), expected.map(({ uuid }) => uuid).sort(), message);
        const times = found.map((uuid) => timestampMs(jobs.find((job) => job.uuid === uuid)?.createdAt as Timestamp));
        const sorted = times.toSorted((a, b) => (orderBy === 'created_at' ? a - b : b - a));
        if (order.length === 1) t.deepEqual(times, sorted, message);
      },
    ),
    { numRuns: rounds(120, 400) },
  );
  t.deepEqual([...ways].sort(), ['branches', 'creation', 'label', 'planner', 'uuid']);
});

/** The same, and how SQLite says that it goes about each statement. */
function explaining(watched: Watched): { readonly explained: Watched; readonly plans: string[] } {
  const plans: string[] = [];
  const explained: Watched = {
    ...watched,
    statement(of, text, tests) {
      const statement = watched.statement(of, text, tests);
      const values = Array(text.split('?').length - 1).fill('');
      for (const { detail } of of.prepare(`EXPLAIN QUERY PLAN ${text}`).all(...values) as { detail: string }[]) {
        plans.push(detail);
      }
      return statement;
    },
  };
  return { explained, plans };
}

test('a label is looked up in the index of labels, in the order of the list, from any page on', async (t) => {
  const { db, jobs } = await historyOf(t, 6);
  const [name, value] = jobs.flatMap(({ labels }) => Object.entries(labels))[0] ?? ['', ''];
  const { plain: filters } = parseFilters([filterFromTriple([`labels.${JSON.stringify(name)}`, '=', value])]);
  const { explained, plans } = explaining(watch(db, () => false));
  const { rows } = listJobs(db, { ...query, filters, after: [2 ** 50, 2 ** 50], countTotal: false }, explained);
  t.true(rows.length > 0);
  t.true(
    plans.some((plan) =>
      /SEARCH label USING PRIMARY KEY \(name=\? AND value=\? AND \(created_at,position\)<\(\?,\?\)\)/.test(plan),
    ),
    plans.join('\n'),
  );
  t.false(plans.some((plan) => plan.includes('TEMP B-TREE')));
});

test('the beginning of a uuid is looked up in the index of uuids', async (t) => {
  const { db, jobs } = await historyOf(t, 6);
  const [{ uuid } = { uuid: '' }] = jobs;
  for (const digits of [4, 12, 13, 20]) {
    const { plain: filters } = parseFilters([filterFromTriple(['uuid', 'like', `${uuid.slice(0, digits)}%`])]);
    const { explained, plans } = explaining(watch(db, () => false));
    const { rows } = listJobs(db, { ...query, filters, countTotal: false }, explained);
    t.true(rows.some((row) => row.uuid === uuid));
    t.true(
      plans.some((plan) => /SEARCH job USING INDEX job_uuid \(<expr>>\? AND <expr><\?\)/.test(plan)),
      plans.join('\n'),
    );
  }
});

function compare(a: unknown, b: unknown): number {
  if (a === undefined || b === undefined) return Number(a !== undefined) - Number(b !== undefined);
  return typeof a === 'string' ? compareText(a, b as string) : Number(a) - Number(b);
}

test('between the searches of two long texts a list can be stopped, though they are of one row', async (t) => {
  const { db, jobs } = await historyOf(t, 1);
  const writing = new Database(db.name);
  writing
    .prepare('UPDATE job SET description = ? WHERE position = (SELECT max(position) FROM job)')
    .run('x'.repeat(60_000));
  writing.close();
  let asked = 0;
  const watched = watch(db, () => ++asked > 10);
  const several = Array.from({ length: 64 }, (_, i) => ['description', 'ilike', `%x${'x'.repeat(i)}%`] as const);
  const { plain: filters } = parseFilters(several.map((triple) => filterFromTriple(triple)));
  t.throws(() => listJobs(db, { ...query, filters }, watched), { instanceOf: Overdue });
  t.is(asked, 11);
  t.true(jobs.length > 0);
});

test('in the midst of the search of one long text for one long pattern a list can be stopped', async (t) => {
  const { db } = await historyOf(t, 1);
  const writing = new Database(db.name);
  writing
    .prepare('UPDATE job SET description = ? WHERE position = (SELECT max(position) FROM job)')
    .run('x'.repeat(60_000));
  writing.close();
  const asked = (pattern: string, most = Number.POSITIVE_INFINITY) => {
    const { plain: filters } = parseFilters([filterFromTriple(['description', 'like', pattern])]);
    let times = 0;
    const list = () =>
      listJobs(
        db,
        { ...query, filters, countTotal: false },
        watch(db, () => ++times > most),
      );
    if (most < Number.POSITIVE_INFINITY) t.throws(list, { instanceOf: Overdue });
    else t.deepEqual(list().rows, []);
    return times;
  };
  const long = `%${'x_'.repeat(500)}y%`;
  // The same but for the time that the matcher takes.
  const more = asked(long) - asked('%x_y%');
  t.true(more >= 5, `${more}`);
  // The newest job is the first that is looked at.
  t.is(asked(long, 6), 7);
});
