import { writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { writeHistory } from '../../../bench/history.js';
import { startMemoir } from '../../../demo/program.js';
import { MemoirError } from '../../../src/domain/errors.js';
import { systemEdge } from '../../../src/edge.js';
import { openKurrentImporter } from '../../../src/eventstore/kurrentdb/importer.js';
import { splitOrigin, withOrigin } from '../../../src/eventstore/kurrentdb/origin.js';
import { parseKurrentUrl } from '../../../src/eventstore/kurrentdb/url.js';
import { metadataJson, type RecordedEvent } from '../../../src/eventstore/port.js';
import { openSqliteImporter } from '../../../src/eventstore/sqlite/importer.js';
import { openSqliteStore } from '../../../src/eventstore/sqlite/store.js';
import { collect, newEvent } from '../../contract/events.js';
import { same } from '../../support/same.js';
import { openOnDouble, quick } from '../kurrentdb-double.js';
import { eventsIn, eventsOfFile, fileOf, fileOfSqlite, historyOf, importFile, scratch } from './scratch.js';

const importerFor = (url: string, timings = {}) =>
  openKurrentImporter(parseKurrentUrl(url), { edge: systemEdge, timings: { ...quick, ...timings } });

const withoutPositions = (events: readonly RecordedEvent[]) => events.map(({ position: _, ...rest }) => rest);

test('a log goes into KurrentDB and back, with the same root, and is read there as it was recorded', async (t) => {
  const path = scratch(t);
  const events = await historyOf(path('a.sqlite'), 2_500);
  const bytes = await fileOfSqlite(path('a.sqlite'));
  const { double, store } = await openOnDouble(t);
  const imported = await importFile(bytes, await importerFor(double.url), path('.'));
  t.deepEqual([imported.there, imported.recorded], [0, 2_500]);

  const there = await collect(store.readAll());
  same(t, withoutPositions(there), withoutPositions(events));
  const stream = events[5]?.stream ?? '';
  t.deepEqual(
    withoutPositions(await collect(store.readStream(stream))),
    withoutPositions(events.filter((event) => event.stream === stream)),
  );
  for await (const batch of store.subscribeAll()) {
    t.deepEqual(batch.events.slice(0, 10), there.slice(0, batch.events.length).slice(0, 10));
    break;
  }
  t.deepEqual(await store.eventAt(there[99]?.position ?? 0), there[99]);
  // Other programs find the origin where the documentation says.
  const record = double.log.records.find(({ id, stream: of }) => id === events[7]?.id && of === events[7]?.stream);
  const { principal, imported: origin } = JSON.parse(Buffer.from(record?.metadata ?? '').toString());
  t.is(principal, JSON.parse(events[7]?.metadata ?? '').principal);
  t.deepEqual(origin, { position: 8, recordedAt: events[7]?.recordedAt });

  const back = await fileOf(store, 'kurrentdb');
  same(t, await eventsOfFile(back), there);
  const again = await importFile(back, openSqliteImporter(path('b.sqlite')), path('.'));
  t.is(again.trailer.root, imported.trailer.root);
  same(t, await eventsIn(path('b.sqlite')), there);

  const next = await store.append(stream, 'any', [newEvent({ text: 'after' })]);
  const local = await openSqliteStore(path('b.sqlite'), Date.now);
  t.is((await local.append(stream, 'any', [newEvent({ text: 'after' })])).revision, next.revision);
  await local.close();
});

test('events of one stream that follow each other are appended together, and big ones come through', async (t) => {
  const path = scratch(t);
  const local = await openSqliteStore(path('a.sqlite'), Date.now);
  const texts = Array.from({ length: 700 }, (_, i) => (i % 90 === 0 ? 'ü'.repeat(300_000) : `${i}`));
  await local.append(
    'joblog-a',
    'no_stream',
    texts.map((text) => newEvent({ text })),
  );
  await local.append('joblog-b', 'no_stream', [newEvent({ text: 'b' })]);
  await local.append('joblog-a', 699, [newEvent({ text: 'last' })]);
  await local.close();
  const { double, store } = await openOnDouble(t);
  await importFile(await fileOfSqlite(path('a.sqlite')), await importerFor(double.url), path('.'));
  same(t, withoutPositions(await collect(store.readAll())), withoutPositions(await eventsIn(path('a.sqlite'))));
});

test('from one cluster to another the times are those of the first', async (t) => {
  const path = scratch(t);
  const events = await historyOf(path('a.sqlite'), 300);
  const [first, second] = [await openOnDouble(t), await openOnDouble(t)];
  await importFile(await fileOfSqlite(path('a.sqlite')), await importerFor(first.double.url), path('.'));
  await first.store.append('joblog-own', 'any', [newEvent({ text: 'recorded there' })]);
  await importFile(await fileOf(first.store, 'kurrentdb'), await importerFor(second.double.url), path('.'));
  const there = await collect(second.store.readAll());
  same(t, withoutPositions(there), withoutPositions(await collect(first.store.readAll())));
  same(t, withoutPositions(there.slice(0, 300)), withoutPositions(events));
});

test('an import that was interrupted goes on, and one that is done does nothing', async (t) => {
  const path = scratch(t);
  const events = await historyOf(path('a.sqlite'), 900);
  const bytes = await fileOfSqlite(path('a.sqlite'));
  const { double, store } = await openOnDouble(t);
  const first = await importerFor(double.url);
  await first.record(events.slice(0, 333));
  await first.close();
  for (const recorded of [567, 0]) {
    const imported = await importFile(bytes, await importerFor(double.url), path('.'));
    t.deepEqual([imported.there, imported.recorded], [900 - recorded, recorded]);
    same(t, withoutPositions(await collect(store.readAll())), withoutPositions(events));
  }
  await store.append('joblog-own', 'any', [newEvent({ text: 'more' })]);
  await t.throwsAsync(importFile(bytes, await importerFor(double.url), path('.')), {
    instanceOf: MemoirError,
    message: /its event number 901 is event 0 of stream "joblog-own".* ends before it; nothing was recorded$/,
  });
});

test('an import that is killed leaves a beginning of the log, and goes on', async (t) => {
  const path = scratch(t);
  const events = await historyOf(path('a.sqlite'), 1_500);
  const bytes = await fileOfSqlite(path('a.sqlite'));
  writeFileSync(path('log.jsonl'), bytes);
  const { double, store } = await openOnDouble(t);
  for (const moment of [1, 700]) {
    const program = startMemoir(['import', '--store', double.url, path('log.jsonl')]);
    const there = new Promise<void>((resolve) => {
      double.log.onGrowth(() => {
        if (double.log.records.length >= moment) resolve();
      });
    });
    await Promise.race([there, program.ended()]);
    await program.stop('SIGKILL');
    const left = withoutPositions(await collect(store.readAll()));
    t.true(left.length > 0 && left.length < 1_500);
    same(t, left, withoutPositions(events.slice(0, left.length)));
  }
  await importFile(bytes, await importerFor(double.url), path('.'));
  same(t, withoutPositions(await collect(store.readAll())), withoutPositions(events));
});

test('whatever breaks meanwhile, every event is recorded once and in order', async (t) => {
  const path = scratch(t);
  const events = await historyOf(path('a.sqlite'), 1_200);
  const bytes = await fileOfSqlite(path('a.sqlite'));
  const { double, store } = await openOnDouble(t, { nodes: 3 });
  const importer = await importerFor(double.url, { answerTimeout: 700 });
  const pass = (count: number) => Array.from({ length: count }, () => undefined);
  double.faults.inject('append', ...pass(40), { kind: 'lose_answer' }, ...pass(60), { kind: 'no_answer' });
  double.faults.inject('append', ...pass(80), { kind: 'lose_answer' }, { kind: 'late', ms: 300 }, ...pass(50));
  double.faults.inject('append', { kind: 'no_answer' }, { kind: 'no_answer' }, ...pass(30), { kind: 'lose_answer' });
  double.faults.inject('append', ...pass(70), { kind: 'drop' }, ...pass(100), { kind: 'drop' });
  await importFile(bytes, importer, path('.'));
  t.is(double.faults.left(), 0);
  same(t, withoutPositions(await collect(store.readAll())), withoutPositions(events));
});

test('a new leader in the middle is found, and nothing is out of order', async (t) => {
  const path = scratch(t);
  const events = await historyOf(path('a.sqlite'), 1_500);
  const { double, store } = await openOnDouble(t, { nodes: 3 });
  const importer = await importerFor(double.url);
  const importing = importFile(await fileOfSqlite(path('a.sqlite')), importer, path('.'));
  let elections = 0;
  const unlisten = double.log.onGrowth(() => {
    if (double.log.records.length > 500 * (elections + 1)) double.elect(++elections % 3);
  });
  await importing;
  unlisten();
  t.true(elections >= 2);
  same(t, withoutPositions(await collect(store.readAll())), withoutPositions(events));
});

test('a server that records appends in another order than they were sent is noticed', async (t) => {
  const path = scratch(t);
  await writeHistory(path('a.sqlite'), 300);
  const { double } = await openOnDouble(t);
  // It refuses one and takes those behind it.
  double.faults.inject('append', ...Array.from({ length: 50 }, () => undefined), { kind: 'busy' });
  const error = await t.throwsAsync(
    importFile(await fileOfSqlite(path('a.sqlite')), await importerFor(double.url), path('.')),
  );
  t.is((error as MemoirError).reason, 'IMPORT_DISTURBED');
  t.regex(error?.message ?? '', /has event .* where the file has event .*; remove its data and import again$/);
});

test('another writer is noticed', async (t) => {
  const path = scratch(t);
  const events = await historyOf(path('a.sqlite'), 1_500);
  const bytes = await fileOfSqlite(path('a.sqlite'));
  const meanwhile = async (when: number, stream: string) => {
    const { double } = await openOnDouble(t);
    let done = false;
    const foreign = {
      type: 'JobLogAppended',
      contentType: 'application/json',
      data: Buffer.from('{}'),
      metadata: Buffer.from('{}'),
    };
    double.log.onGrowth(() => {
      if (done || double.log.records.length < when) return;
      done = true;
      double.log.append(stream, 'any', [{ ...foreign, id: crypto.randomUUID() }]);
    });
    return t.throwsAsync(importFile(bytes, await importerFor(double.url), path('.')), { instanceOf: MemoirError });
  };
  const aside = await meanwhile(400, 'joblog-of-another');
  t.regex(aside?.message ?? '', /the store has 1501 events with root .*: something else wrote to the store/);
  const inTheWay = await meanwhile(400, events.at(-1)?.stream ?? '');
  t.is(inTheWay?.reason, 'IMPORT_DISTURBED');
});

test('what KurrentDB would not give back is refused before anything is recorded', async (t) => {
  const path = scratch(t);
  const good = await historyOf(path('a.sqlite'), 20);
  const odd = (change: Partial<RecordedEvent>): RecordedEvent => ({
    ...newEvent({ text: 'x' }),
    stream: 'joblog-odd',
    revision: 0,
    position: 21,
    recordedAt: 5,
    ...change,
  });
  const cases: [RecordedEvent, RegExp][] = [
    [odd({ data: '{"text": "x"}' }), /^line 22 of .* its data are not JSON as JSON.stringify writes it/],
    [odd({ metadata: '[]' }), /its metadata "\[\]" are no JSON object/],
    [odd({ metadata: '{"imported":1}' }), /have a member "imported"/],
    [odd({ revision: 7 }), /revision 7 of stream "joblog-odd" does not follow none/],
  ];
  const { double, store } = await openOnDouble(t);
  for (const [i, [event, message]] of cases.entries()) {
    const importer = openSqliteImporter(path(`${i}.sqlite`));
    await importer.record([...good, event]);
    await importer.finish();
    await importer.close();
    const bytes = await fileOfSqlite(path(`${i}.sqlite`));
    await refusedHere(t, importFile(bytes, await importerFor(double.url), dirname(path('x'))), message);
    t.is((await collect(store.readAll())).length, 0);
    // An embedded store takes it.
    await importFile(bytes, openSqliteImporter(path(`${i}-copy.sqlite`)), path('.'));
  }
});

async function refusedHere(t: ExecutionContext, work: Promise<unknown>, message: RegExp): Promise<void> {
  const error = await t.throwsAsync(work, { instanceOf: MemoirError });
  t.is(error?.reason, 'NOT_IMPORTABLE');
  t.regex(error?.message ?? '', message);
}

test('metadata come back from what an import makes of them', (t) => {
  const origin = { position: 7, recordedAt: -3 };
  const check = (metadata: string) => {
    const split = splitOrigin(JSON.parse(withOrigin(metadata, origin)));
    t.is(JSON.stringify(split.metadata), metadata);
    t.deepEqual(split.origin, origin);
  };
  check(metadataJson({ principal: 'alice', requestId: 'r', serverVersion: '1' }));
  for (const metadata of ['{}', '{"__proto__":{"imported":1}}', '{"1":2,"a":"\\ud800"}', '{"a":{"imported":{}}}'])
    check(metadata);
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => {
      const metadata = JSON.stringify(JSON.parse(JSON.stringify(value)));
      if (!Object.hasOwn(value, 'imported')) check(metadata);
    }),
  );
  for (const other of [1, null, 'x', [], { imported: 1 }, { imported: null }, { imported: { position: 1 } }]) {
    t.deepEqual(splitOrigin(other), { metadata: other });
  }
});
