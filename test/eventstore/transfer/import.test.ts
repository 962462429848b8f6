import { copyFileSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import Database from 'better-sqlite3';
import { writeHistory } from '../../../bench/history.js';
import { MemoirError } from '../../../src/domain/errors.js';
import type { NewEvent, RecordedEvent } from '../../../src/eventstore/port.js';
import { openSqliteImporter } from '../../../src/eventstore/sqlite/importer.js';
import { openSqliteExport, openSqliteStore } from '../../../src/eventstore/sqlite/store.js';
import { newEvent } from '../../contract/events.js';
import { same } from '../../support/same.js';
import { eventsIn, eventsOfFile, fileOf, fileOfSqlite, historyOf, importFile, rawRows, scratch } from './scratch.js';

const into = (bytes: Uint8Array, path: string) => importFile(bytes, openSqliteImporter(path), dirname(path));

/** A log with these events, made as an import makes it. */
async function record(path: string, events: readonly RecordedEvent[]): Promise<void> {
  const importer = openSqliteImporter(path);
  await importer.record(events);
  await importer.finish();
  await importer.close();
}

/** The events with positions as a cluster gives them. */
const spread = (events: readonly RecordedEvent[]) =>
  events.map((event, i) => ({ ...event, position: 164 + i * 731 + (i % 7) }));

async function refused(t: ExecutionContext, work: Promise<unknown>, reason: string, message: RegExp): Promise<void> {
  const error = await t.throwsAsync(work, { instanceOf: MemoirError });
  t.is(error?.reason, reason);
  t.regex(error?.message ?? '', message);
}

test('a log goes to a file and into another store row by row as it was', async (t) => {
  const path = scratch(t);
  const events = await historyOf(path('a.sqlite'), 2_500);
  const imported = await into(await fileOfSqlite(path('a.sqlite')), path('b.sqlite'));
  t.deepEqual([imported.there, imported.recorded, imported.trailer.lastPosition], [0, 2_500, 2_500]);
  same(t, rawRows(path('b.sqlite')), rawRows(path('a.sqlite')));
  t.is(statSync(path('b.sqlite')).size > 1_000_000, true, 'the one file is not the whole log');
  const store = await openSqliteStore(path('b.sqlite'), Date.now);
  const [{ stream, revision }] = events.slice(-1) as [RecordedEvent];
  t.deepEqual(await store.append(stream, revision, [newEvent()]), { revision: revision + 1, position: 2_501 });
  await store.close();
});

test('an empty log goes the same way', async (t) => {
  const path = scratch(t);
  await record(path('a.sqlite'), []);
  const bytes = await fileOfSqlite(path('a.sqlite'));
  same(t, await eventsOfFile(bytes), []);
  t.is((await into(bytes, path('b.sqlite'))).trailer.events, 0);
  same(t, rawRows(path('b.sqlite')), rawRows(path('a.sqlite')));
});

test('positions that are left out stay left out, and the log goes on after them', async (t) => {
  const path = scratch(t);
  const events = spread(await historyOf(path('dense.sqlite'), 1_500));
  await record(path('a.sqlite'), events);
  const bytes = await fileOfSqlite(path('a.sqlite'));
  await into(bytes, path('b.sqlite'));
  same(t, await eventsIn(path('b.sqlite')), events);
  same(t, rawRows(path('b.sqlite')), rawRows(path('a.sqlite')));
  t.is(rawRows(path('b.sqlite')).format, 2);
  t.is(rawRows(path('dense.sqlite')).format, 1);
  const last = events.at(-1)?.position ?? 0;
  for (let i = 1; i <= 3; i++) {
    const store = await openSqliteStore(path('b.sqlite'), Date.now);
    t.is((await store.append('joblog-after', 'any', [newEvent()])).position, last + i);
    t.is((await store.eventAt(last + i))?.revision, i - 1);
    t.is(await store.eventAt(last - 1), undefined);
    await store.close();
  }
  same(t, (await eventsOfFile(await fileOfSqlite(path('b.sqlite')))).slice(0, 1_500), events);
});

test('in a log with positions left out a lost row is missed, wherever it stood', async (t) => {
  const path = scratch(t);
  const events = spread(await historyOf(path('dense.sqlite'), 300));
  await record(path('a.sqlite'), events);
  const spoil = async (sql: string, ...parameters: number[]) => {
    copyFileSync(path('a.sqlite'), path('spoilt.sqlite'));
    const db = new Database(path('spoilt.sqlite'));
    db.prepare(sql).run(...parameters);
    db.close();
    return t.throwsAsync(openSqliteStore(path('spoilt.sqlite'), Date.now), { name: 'StoreUnreadable' });
  };
  for (const i of [0, 1, 150, 298]) {
    const position = events[i]?.position ?? 0;
    const error = await spoil('DELETE FROM event WHERE position = ?', position);
    t.regex(error?.message ?? '', new RegExp(`is damaged: no event at position ${position}$`));
    t.throws(() => openSqliteExport(path('spoilt.sqlite')), { message: /is damaged: \d+ of its events are missing/ });
  }
  await spoil('UPDATE event SET gap = gap + 1 WHERE position = ?', events[200]?.position ?? 0);
  await spoil('UPDATE event SET gap = 0 WHERE position = ?', events[0]?.position ?? 0);
  t.throws(() => openSqliteExport(path('none.sqlite')), { name: 'StoreUnreadable', message: /there is no event log/ });
});

test('a store of another log is refused, naming the first event, and left as it is', async (t) => {
  const path = scratch(t);
  const events = await historyOf(path('a.sqlite'), 400);
  const bytes = await fileOfSqlite(path('a.sqlite'));
  const changes: [string, RecordedEvent[], RegExp][] = [
    [
      'time',
      events.slice(0, 90).with(77, { ...(events[77] as RecordedEvent), recordedAt: 5 }),
      /its event number 78 is /,
    ],
    ['data', events.slice(0, 90).with(0, { ...(events[0] as RecordedEvent), data: '{}' }), /its event number 1 is /],
    ['positions', spread(events.slice(0, 90)), /its event number 1 is .* at position 164, and line 2 of/],
    [
      'longer',
      [...events, { ...(events[0] as RecordedEvent), stream: 'joblog-x', position: 401 }],
      /its event number 401 is event 0 of stream "joblog-x" .* ends before it; nothing was recorded/,
    ],
  ];
  for (const [name, there, message] of changes) {
    const store = path(`${name}.sqlite`);
    await record(store, there);
    const before = rawRows(store);
    await refused(t, into(bytes, store), 'LOG_DIFFERS', message);
    same(t, rawRows(store), before, name);
    await (await openSqliteStore(store, Date.now)).close();
  }
});

test('a store that holds the beginning is given the rest, and the whole again nothing', async (t) => {
  const path = scratch(t);
  const events = await historyOf(path('a.sqlite'), 2_345);
  const bytes = await fileOfSqlite(path('a.sqlite'));
  for (const there of [1, 999, 1_000, 1_001, 2_344, 2_345]) {
    const store = path(`${there}.sqlite`);
    await record(store, events.slice(0, there));
    const imported = await into(bytes, store);
    t.deepEqual([imported.there, imported.recorded], [there, 2_345 - there]);
    same(t, rawRows(store), rawRows(path('a.sqlite')));
  }
});

test('of a file with a mistake in its last event nothing is recorded', async (t) => {
  const path = scratch(t);
  await writeHistory(path('a.sqlite'), 1_200);
  const text = (await fileOfSqlite(path('a.sqlite'))).toString();
  const at = text.lastIndexOf('"type":"Job');
  const cases: [string, RegExp][] = [
    [`${text.slice(0, at)}"type":"job${text.slice(at + 11)}`, /^line 1201 of standard input: type "job.*is no name/],
    [
      text.replace('"owner":"user-0"', '"owner":["user-0"]'),
      /^line \d+ of standard input: event 0 of stream "job-.*" is no JobRequested: .*owner/,
    ],
    [text.slice(0, -40), /^line 1202 .* ends in the middle/],
  ];
  for (const [changed, message] of cases) {
    await refused(t, into(Buffer.from(changed), path('b.sqlite')), 'BAD_EXPORT', message);
    same(t, rawRows(path('b.sqlite')), { format: 1, rows: [] });
  }
});

test('a malformed event, one where it cannot be, and a decision that cannot be read are refused, naming the line', async (t) => {
  const path = scratch(t);
  const cases: [stream: string, event: NewEvent, RegExp][] = [
    ['joblog-a', newEvent({ text: [] }), /event 0 of stream "joblog-a" is no JobLogAppended/],
    ['job-a', newEvent({ text: 'good' }), /a stream where no JobLogAppended can be/],
    ['reuse-a', newEvent({ uuid: 'a', decision: { candidates: 7 } }, 'JobReused'), /is no JobReused/],
  ];
  for (const [i, [stream, event, message]] of cases.entries()) {
    const store = await openSqliteStore(path(`${i}.sqlite`), Date.now);
    await store.append('joblog-b', 'any', [newEvent({ text: 'good' })]);
    await store.append(stream, 'any', [event]);
    await store.close();
    const file = await fileOfSqlite(path(`${i}.sqlite`));
    await refused(t, into(file, path('b.sqlite')), 'BAD_EXPORT', new RegExp(`^line 3 of .*${message.source}`));
    same(t, rawRows(path('b.sqlite')), { format: 1, rows: [] });
  }
});

test('while an import has not ended servers and exports are refused, and it is made good by the same file', async (t) => {
  const path = scratch(t);
  const events = await historyOf(path('a.sqlite'), 1_500);
  const importer = openSqliteImporter(path('b.sqlite'));
  await importer.record(events.slice(0, 1_100));
  await t.throwsAsync(openSqliteStore(path('b.sqlite'), Date.now), { message: /in use by another Memoir server/ });
  await importer.close();
  const message = /is not whole: an import into it has not ended; import the same file again/;
  await t.throwsAsync(openSqliteStore(path('b.sqlite'), Date.now), { name: 'StoreUnreadable', message });
  t.throws(() => openSqliteExport(path('b.sqlite')), { name: 'StoreUnreadable', message });
  await into(await fileOfSqlite(path('a.sqlite')), path('b.sqlite'));
  same(t, rawRows(path('b.sqlite')), rawRows(path('a.sqlite')));
});

test('a log that no import would take is not exported', async (t) => {
  const path = scratch(t);
  const cases: [string, string, RegExp][] = [
    [
      'foreign',
      'text',
      /^event 0 of stream "foreign", at position 1, cannot be exported: stream "foreign" is none of Memoir/,
    ],
    ['joblog-big', 'x'.repeat(32 * 1024 * 1024), /cannot be exported: it is longer than 33554432 bytes$/],
  ];
  for (const [stream, content, message] of cases) {
    const file = path(`${stream}.sqlite`);
    const store = await openSqliteStore(file, Date.now);
    await store.append(stream, 'any', [newEvent(content)]);
    await store.close();
    await refused(t, fileOfSqlite(file), 'NOT_EXPORTABLE', message);
  }
});

test('a log that a server has open is not imported into', async (t) => {
  const path = scratch(t);
  const store = await openSqliteStore(path('a.sqlite'), Date.now);
  t.throws(() => openSqliteImporter(path('a.sqlite')), {
    name: 'StoreUnavailable',
    message: /in use by another Memoir/,
  });
  await store.close();
});

test('what is exported while a server writes is the log up to where it ended', async (t) => {
  const path = scratch(t);
  await writeHistory(path('a.sqlite'), 3_000);
  const store = await openSqliteStore(path('a.sqlite'), Date.now);
  const stop = new AbortController();
  const writing = (async () => {
    let count = 0;
    while (!stop.signal.aborted) {
      await Promise.all(
        Array.from({ length: 20 }, (_, i) => store.append(`joblog-${i}`, 'any', [newEvent({ text: `${count++}` })])),
      );
      await pause(1);
    }
    return count;
  })();
  for (let round = 0; round < 5; round++) {
    const before = await store.end();
    const log = openSqliteExport(path('a.sqlite'));
    const bytes = await fileOf(log);
    await log.close();
    const events = await eventsOfFile(bytes);
    t.true(events.length >= before && events.length <= (await store.end()), `${events.length} events`);
    const imported = await into(bytes, path(`${round}.sqlite`));
    t.is(imported.recorded, events.length);
    same(t, rawRows(path(`${round}.sqlite`)).rows, rawRows(path('a.sqlite')).rows.slice(0, events.length));
  }
  stop.abort();
  t.true((await writing) > 100);
  await store.close();
});
