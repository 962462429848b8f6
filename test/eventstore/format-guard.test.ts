import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import test, { type ExecutionContext } from 'ava';
import {
  ExcludedFromReuseSchema,
  JobDeletedSchema,
  JobRequestedSchema,
  SubmissionIntendedSchema,
} from '../../gen/memoir/events/v1/events_pb.js';
import { formatNeeded, type Need, needs, newestFormat } from '../../src/domain/log-format.js';
import { systemEdge } from '../../src/edge.js';
import { type Formats, formatOf, type GuardedStore } from '../../src/eventstore/format-guard.js';
import { openStore, sqliteUrl } from '../../src/eventstore/open-store.js';
import { metadataJson, NewerLog } from '../../src/eventstore/port.js';
import { collect, newEvent } from '../contract/events.js';

function scratch(t: ExecutionContext): (formats?: Formats) => Promise<GuardedStore> {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-format-'));
  const open: GuardedStore[] = [];
  t.teardown(async () => {
    for (const store of open) await store.close();
    await rm(directory, { recursive: true });
  });
  return async (formats) => {
    const store = await openStore(sqliteUrl(join(directory, 'events.sqlite')), systemEdge, undefined, formats);
    open.push(store);
    return store;
  };
}

const ofFormat = (logFormat: number) => ({
  ...newEvent(),
  metadata: metadataJson({ principal: 'ada', requestId: 'r', serverVersion: '9', logFormat }),
});

test('what needs a format is told by its kind or by a field that is set', (t) => {
  const table: readonly Need[] = [
    { format: 2, event: 'JobDeleted' },
    { format: 3, event: 'JobRequested', field: 'submitId' },
    { format: 4, event: 'JobRequested', field: 'components' },
    { format: 5, event: 'JobRequested', field: 'decision' },
    { format: 6, event: 'SubmissionIntended', field: 'answer', member: 'joined' },
    { format: 7, event: 'ExcludedFromReuse', field: 'exclusion.target', member: 'worker' },
  ];
  t.is(formatNeeded(create(JobDeletedSchema), table), 2);
  t.is(formatNeeded(create(JobRequestedSchema), table), 1);
  t.is(formatNeeded(create(JobRequestedSchema, { submitId: 'x' }), table), 3);
  t.is(formatNeeded(create(JobRequestedSchema, { submitId: 'x', components: { a: 'b' } }), table), 4);
  t.is(formatNeeded(create(JobRequestedSchema, { decision: {} }), table), 5);
  const intended = (kind: 'reused' | 'joined') =>
    create(SubmissionIntendedSchema, { answer: { case: kind, value: {} } });
  t.is(formatNeeded(intended('reused'), table), 1);
  t.is(formatNeeded(intended('joined'), table), 6);
  t.is(formatNeeded(create(ExcludedFromReuseSchema), table), 1);
  t.is(
    formatNeeded(create(ExcludedFromReuseSchema, { exclusion: { target: { case: 'output', value: 'x' } } }), table),
    1,
  );
  t.is(
    formatNeeded(create(ExcludedFromReuseSchema, { exclusion: { target: { case: 'worker', value: {} } } }), table),
    7,
  );
  t.is(Math.max(1, ...needs.map(({ format }) => format)), newestFormat);
});

test('the format stands in the metadata only where it is above 1, and is read whoever wrote it', (t) => {
  t.false(ofFormat(1).metadata.includes('logFormat'));
  t.is(formatOf(ofFormat(1)), 1);
  t.is(formatOf(ofFormat(7)), 7);
  t.is(formatOf({ metadata: '{"logFormat":"8"}' }), 8);
  // Names that look like it, and what no Memoir wrote.
  t.is(formatOf({ metadata: JSON.stringify({ principal: '"logFormat":9' }) }), 1);
  for (const metadata of [
    '"logFormat"',
    '{"logFormat":',
    'null',
    '{"logFormat":-3}',
    '{"logFormat":1e99}',
    '{"logFormat":2.5}',
  ])
    t.is(formatOf({ metadata }), 1, metadata);
});

test('an older version reads a newer log up to the first event that it does not know, and appends nothing any more', async (t) => {
  const open = scratch(t);
  const newer = await open({ known: 3 });
  await newer.append('job-a', 'no_stream', [newEvent(), ofFormat(3), newEvent()]);
  await newer.append('job-b', 'no_stream', [newEvent()]);
  t.is((await collect(newer.readAll())).length, 4);
  await newer.close();

  const reads: readonly ((store: GuardedStore) => Promise<unknown>)[] = [
    (store) => collect(store.readAll()),
    (store) => collect(store.readStream('job-a')),
    (store) => store.eventAt(2),
    async (store) => {
      for await (const _ of store.subscribeAll()) return;
    },
  ];
  for (const read of reads) {
    const older = await open({ known: 2 });
    const told: string[] = [];
    older.onRefused(({ reason }) => told.push(reason));
    t.is((await older.eventAt(1))?.revision, 0);
    t.is((await collect(older.readStream('job-b'))).length, 1);
    t.is(older.refused(), undefined);
    const error = await t.throwsAsync(() => read(older), { instanceOf: NewerLog });
    t.regex(error?.message ?? '', /^event 1 of stream "job-a", .* at position 2, is of log format 3, .* up to 2: /);
    t.deepEqual(told, ['NEWER_LOG']);
    await t.throwsAsync(older.append('job-c', 'any', [newEvent()]), { instanceOf: NewerLog });
    t.is(await older.end(), 4);
    await older.close();
  }
});

test('what needs a format that is not allowed is not recorded; alone with a store, all that is known is allowed', async (t) => {
  const open = scratch(t);
  const store = await open({ known: 3, allowed: 2 });
  const error = await t.throwsAsync(store.append('job-a', 'any', [ofFormat(2), ofFormat(3)]), { name: 'MemoirError' });
  t.like(error, { code: 'FAILED_PRECONDITION', reason: 'LOG_FORMAT_NOT_ALLOWED' });
  t.regex(error?.message ?? '', /needs log format 3, .* up to format 2 .*log_format/);
  t.is(await store.end(), 0);
  await store.append('job-a', 'any', [ofFormat(2)]);
  t.is(store.refused(), undefined);
  await store.close();
  t.is((await open({ known: 5 })).allowedFormat, 5);
});
