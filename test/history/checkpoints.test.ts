import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { pino } from 'pino';
import { type HistoryModel, openHistoryModel } from '../../projections/history/history-model.js';
import { MemoirError } from '../../src/domain/errors.js';
import { checkpointStream } from '../../src/domain/streams.js';
import { systemEdge } from '../../src/edge.js';
import { sqliteUrl } from '../../src/eventstore/open-store.js';
import type { EventStore } from '../../src/eventstore/port.js';
import { openSqliteStore } from '../../src/eventstore/sqlite/store.js';
import { openCheckpointKey } from '../../src/history/checkpoint-key.js';
import { openCheckpoints } from '../../src/history/checkpoints.js';
import { recordCheckpoints } from '../../src/history/record-checkpoints.js';
import { collect, newEvent, numbered } from '../contract/events.js';
import { until } from '../support/until.js';

type Scene = {
  readonly store: EventStore;
  /** A server's part of it, with a history and a key of its own. */
  server(name: string): Promise<ReturnType<typeof openCheckpoints>>;
  readonly clock: { now: number };
  readonly edge: typeof systemEdge;
};

async function scene(t: ExecutionContext): Promise<Scene> {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-checkpoints-'));
  const clock = { now: 1_000_000 };
  const edge = { ...systemEdge, now: () => clock.now };
  const path = join(directory, 'events.sqlite');
  const store = await openSqliteStore(path, edge.now);
  const histories: HistoryModel[] = [];
  t.teardown(async () => {
    for (const history of histories) await history.close();
    await store.close();
    rmSync(directory, { recursive: true });
  });
  return {
    store,
    clock,
    edge,
    async server(name) {
      const files = { readModel: join(directory, 'read-model.sqlite'), history: join(directory, `${name}.sqlite`) };
      const history = await openHistoryModel(sqliteUrl(path), files);
      histories.push(history);
      const signer = openCheckpointKey({ path: join(directory, `${name}.key`), make: true, origin: 'log' });
      return openCheckpoints({ store, history, edge, serverVersion: '0' }, signer);
    },
  };
}

test('a checkpoint is recorded only if something else was recorded since the last one', async (t) => {
  const { store, server } = await scene(t);
  const checkpoints = await server('one');
  t.false(await checkpoints.record());
  await store.append('job-1', 'any', numbered(3));
  t.true(await checkpoints.record());
  t.false(await checkpoints.record());
  t.false(await checkpoints.record());
  await store.append('job-1', 'any', [newEvent()]);
  t.true(await checkpoints.record());
  const sizes = (await collect(store.readStream(checkpointStream))).map(({ data }) => JSON.parse(data).treeSize);
  t.deepEqual(sizes, ['3', '5']);
});

test('several servers of one store record one checkpoint between them', async (t) => {
  const { store, server } = await scene(t);
  const servers = [await server('one'), await server('two'), await server('three')];
  for (let round = 0; round < 5; round++) {
    await store.append('job-1', 'any', [newEvent()]);
    const recorded = await Promise.all(servers.map((one) => one.record()));
    t.is(recorded.filter(Boolean).length, 1);
    t.deepEqual(await Promise.all(servers.map((one) => one.record())), [false, false, false]);
  }
  t.is((await collect(store.readAll())).length, 10);
});

test('what is recorded while a checkpoint is signed is left to the next one, and not lost', async (t) => {
  const { store, server } = await scene(t);
  const checkpoints = await server('one');
  await store.append('job-1', 'any', numbered(2));
  const [recorded] = await Promise.all([checkpoints.record(), store.append('job-1', 'any', numbered(2))]);
  t.true(recorded);
  const { treeSize } = JSON.parse((await checkpoints.last())?.data ?? '');
  t.is(await checkpoints.record(), Number(treeSize) < 4);
});

test('a log that is not what its last checkpoint says is not signed', async (t) => {
  const { store, server } = await scene(t);
  const checkpoints = await server('one');
  await store.append('job-1', 'any', numbered(5));
  const { note } = await checkpoints.sign();
  const signed = async (text: string, treeSize: number) => {
    const event = { ...newEvent({ note: text, treeSize: String(treeSize) }, 'CheckpointSigned') };
    await store.append(checkpointStream, 'any', [event]);
  };
  await signed(note, 5);
  t.is((await checkpoints.sign()).size, 6);
  for (const [text, size] of [
    [note.replace('\n5\n', '\n4\n'), 4],
    [note.replace('\n5\n', '\n500\n'), 500],
  ] as const) {
    await signed(text, size);
    for (const attempt of [checkpoints.sign, checkpoints.record]) {
      const error = await t.throwsAsync(attempt(), { instanceOf: MemoirError });
      t.like(error, { code: 'DATA_LOSS', reason: 'LOG_CONTRADICTED' });
      t.regex(error?.message ?? '', new RegExp(`"log" at ${size} events`));
    }
  }
});

test('a restart does not begin the interval anew, and a clock that was set back does not end it', async (t) => {
  const { store, server, clock, edge } = await scene(t);
  const checkpoints = await server('one');
  const logger = pino({ level: 'silent' });
  const recorded = async () => (await collect(store.readStream(checkpointStream))).length;
  await store.append('job-1', 'any', [newEvent()]);
  // Each start looks once, a second in at the latest; the interval is an hour.
  const start = async (condition: () => Promise<boolean>) => {
    let looks = 0;
    const counted = { ...checkpoints, last: () => checkpoints.last().finally(() => looks++) };
    const recording = recordCheckpoints({ store, edge }, counted, 3_600_000, logger);
    await until('a look', () => looks > 0);
    await recording.stop();
    t.true(await condition());
  };
  clock.now += 3_599_000;
  await start(async () => (await recorded()) === 0);
  clock.now += 1_000;
  await start(async () => (await recorded()) === 1);
  await store.append('job-1', 'any', [newEvent()]);
  await start(async () => (await recorded()) === 1);
  clock.now -= 365 * 86_400_000;
  await start(async () => (await recorded()) === 2);
  t.is(JSON.parse((await checkpoints.last())?.data ?? '').treeSize, '3');
});
