import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import test from 'ava';
import type Database from 'better-sqlite3';
import {
  JobCancelledSchema,
  JobDeletedSchema,
  JobStartedSchema,
  JobUpdatedSchema,
} from '../../gen/memoir/events/v1/events_pb.js';
import { allProjections } from '../../projections/all.js';
import { listJobs } from '../../projections/lists/job-list.js';
import type { ListQuery } from '../../projections/lists/list-query.js';
import { watch } from '../../projections/lists/watched.js';
import { type JobRow, jobQueries } from '../../projections/read-model/jobs.js';
import { type QueueCursor, queueQueries } from '../../projections/read-model/queue.js';
import { openReadModelFile } from '../../projections/running/database.js';
import { newestFirst } from '../../src/domain/filters/job-order.js';
import { shapeOfKey } from '../../src/domain/placement/shape.js';
import { jobStream } from '../../src/domain/streams.js';
import { noon, requestOf } from '../domain/commands.js';
import { append } from './history.js';
import { catchUp, openScratch, type Scratch } from './scratch.js';

/** A log with a read model, that `follow` brings up to the log. */
async function scene(): Promise<Scratch & { db: Database.Database; follow(): Promise<void> }> {
  const scratch = await openScratch();
  const path = scratch.path('rm.sqlite');
  await catchUp(scratch.store, path);
  const db = openReadModelFile(path, allProjections);
  return { ...scratch, db, follow: async () => void (await catchUp(scratch.store, path)) };
}

const request = (
  n: number,
  facts: { priority?: number; at?: number; submitId?: string; owner?: string; repository?: string } = {},
) =>
  requestOf({
    scriptParameters: { n },
    priority: facts.priority ?? 0,
    requestedAt: timestampFromMs(noon + (facts.at ?? n)),
    submitId: facts.submitId ?? '',
    owner: facts.owner ?? 'alice',
    repository: facts.repository ?? 'weather',
  });

/** Everything that pages of some size give, with something that happens between them. */
async function pages<Row, Cursor>(
  page: (cursor: Cursor | undefined, limit: number) => readonly Row[],
  cursorOf: (row: Row) => Cursor,
  limit: number,
  between: () => Promise<void> = async () => {},
): Promise<Row[]> {
  const all: Row[] = [];
  for (let rows = page(undefined, limit); rows.length > 0; ) {
    all.push(...rows);
    await between();
    rows = page(cursorOf(all.at(-1) as Row), limit);
  }
  return all;
}

test('pages of jobs go from the newest to the oldest, each job once, while jobs come', async (t) => {
  const { store, db, follow, close } = await scene();
  // Several in the same millisecond, and clocks that go back.
  const times = [5, 5, 5, 3, 9, 5, 1, 9, 9, 2, 7, 5];
  const uuids = times.map((at, n) => ({ uuid: request(n, { at }).uuid, at, n }));
  for (const [n, at] of times.entries()) await append(store, jobStream(request(n, { at }).uuid), request(n, { at }));
  await append(store, jobStream(request(4, { at: 9 }).uuid), create(JobDeletedSchema, {}));
  await follow();
  const expected = uuids
    .filter(({ n }) => n !== 4)
    .sort((a, b) => b.at - a.at || b.n - a.n)
    .map(({ uuid }) => uuid);
  const watched = watch(db, () => false);
  const query = { from: 'jobs', filters: [], readers: undefined, order: newestFirst, fields: ['uuid'] } as const;
  const page = (after: ListQuery['after'], limit: number) =>
    listJobs(db, { ...query, after, limit, bytes: 1e9, countTotal: false }, watched).rows;
  const cursorOf = (row: JobRow & { key0?: number; key1?: number }) => [row.key0 ?? 0, row.key1 ?? 0];
  for (const limit of [1, 2, 5, 100]) {
    const rows = await pages(page, cursorOf, limit);
    t.deepEqual(
      rows.map(({ uuid }) => uuid),
      expected,
      `by ${limit}`,
    );
  }
  let more = 100;
  const rows = await pages(page, cursorOf, 2, async () => {
    const newer = request(more++, { at: 20 });
    await append(store, jobStream(newer.uuid), newer);
    await follow();
  });
  t.deepEqual(
    rows.map(({ uuid }) => uuid),
    expected,
  );
  db.close();
  await close();
});

test('pages of the queue go by priority and age, and stay in place while the queue changes', async (t) => {
  const { store, db, follow, close } = await scene();
  const extremes = [0, 5, -5, 0, 2 ** 31 - 1, -(2 ** 31), 5, 0, 1, -(2 ** 31)];
  const requests = extremes.map((priority, n) => request(n, { priority, repository: n % 2 ? 'odd' : 'even' }));
  for (const event of requests) await append(store, jobStream(event.uuid), event);
  await follow();
  const order = (those: typeof requests) =>
    those
      .map((event, n) => ({ ...event, n }))
      .sort((a, b) => b.priority - a.priority || a.n - b.n)
      .map(({ uuid }) => uuid);
  const queue = queueQueries(db);
  const places = (cursor: QueueCursor | undefined, limit: number) => queue.places(cursor, limit);
  for (const limit of [1, 3, 100]) {
    const rows = await pages(places, (row) => row, limit);
    t.deepEqual(
      rows.map(({ uuid }) => uuid),
      order(requests),
    );
    t.deepEqual(
      rows.map(({ priority }) => priority),
      [...extremes].sort((a, b) => b - a),
    );
    // Jobs that ask for the same stand in one list.
    const shapes = queue.shapesAfter(0).map(({ id, key }) => ({ id, repository: shapeOfKey(key).repository }));
    t.deepEqual(
      shapes.map(({ repository }) => repository),
      ['even', 'odd'],
    );
    const shape = shapes.find(({ repository }) => repository === 'odd')?.id as number;
    const odd = await pages(
      (cursor: QueueCursor | undefined, most) => queue.placesOf(shape, 'alice', cursor, most),
      (row) => row,
      limit,
    );
    t.deepEqual(
      odd.map(({ uuid }) => uuid),
      order(requests).filter((uuid) => requests.findIndex((r) => r.uuid === uuid) % 2),
    );
  }
  // One is started, one is cancelled, one comes first, and one goes from the end to the front: those that stay come once.
  const [started, cancelled, moved] = [requests[6], requests[7], requests[5]].map((event) => event?.uuid as string);
  let changed = false;
  const rows = await pages(
    places,
    (row) => row,
    2,
    async () => {
      if (changed) return;
      changed = true;
      await append(store, jobStream(started as string), create(JobStartedSchema, {}));
      await append(store, jobStream(cancelled as string), create(JobCancelledSchema, {}));
      await append(store, jobStream(moved as string), create(JobUpdatedSchema, { priority: 2 ** 31 - 1 }));
      await append(store, jobStream(request(50).uuid), request(50, { priority: 2 ** 31 - 1 }));
      await follow();
    },
  );
  const gone = [started, cancelled, moved];
  const seen = rows.map(({ uuid }) => uuid);
  t.deepEqual(seen.slice(0, 2), order(requests).slice(0, 2));
  t.deepEqual(
    seen.slice(2),
    order(requests)
      .slice(2)
      .filter((uuid) => !gone.includes(uuid)),
  );
  t.is(queue.size(), requests.length + 1 - 2);
  db.close();
  await close();
});

test('a submit_id finds the first job that its owner made with it, deleted or not', async (t) => {
  const { store, db, follow, close } = await scene();
  const [first, second, others] = [
    request(1, { submitId: 's' }),
    request(2, { submitId: 's' }),
    request(3, { submitId: 's', owner: 'bob' }),
  ];
  for (const event of [request(0), first, second, others]) await append(store, jobStream(event.uuid), event);
  await append(store, jobStream(first.uuid), create(JobDeletedSchema, {}));
  await follow();
  const jobs = jobQueries(db);
  t.is(jobs.bySubmitId('alice', 's')?.uuid, first.uuid);
  t.is(jobs.bySubmitId('bob', 's')?.uuid, others.uuid);
  t.is(jobs.bySubmitId('alice', ''), undefined);
  t.is(jobs.bySubmitId('alice', 'x'), undefined);
  t.is(jobs.get(first.uuid), undefined);
  db.close();
  await close();
});

test('the queries use their indexes', async (t) => {
  const { db, close } = await scene();
  const plan = (sql: string) =>
    (db.prepare(`EXPLAIN QUERY PLAN ${sql}`).all() as { detail: string }[]).map(({ detail }) => detail).join('; ');
  const statements = new Set<string>();
  const watched = new Proxy(db, {
    get: (target, name) =>
      name === 'prepare'
        ? (sql: string) => statements.add(sql) && target.prepare(sql)
        : Reflect.get(target, name, target),
  });
  const { reuseQueries } = await import('../../projections/read-model/reuse-index.js');
  for (const queries of [jobQueries, queueQueries, reuseQueries]) queries(watched);
  t.true(statements.size >= 7);
  for (const sql of statements) {
    if (sql.includes('count(*)')) continue;
    const found = plan(sql.replaceAll('?', '1'));
    t.notRegex(found, /SCAN (job|queued|candidate)\b(?! USING INDEX)|TEMP B-TREE/, `${sql}: ${found}`);
  }
  db.close();
  await close();
});
