import { readdirSync, readFileSync } from 'node:fs';
import { fromJson, type JsonValue } from '@bufbuild/protobuf';
import test from 'ava';
import { EventMetadataSchema } from '../../gen/memoir/history/v1/history_service_pb.js';
import { openCheckpoint } from '../../src/domain/log-tree/checkpoint.js';
import { growingTree } from '../../src/domain/log-tree/growing-tree.js';
import { leafHash } from '../../src/domain/log-tree/leaf.js';
import { verifierKey } from '../../src/domain/log-tree/verifier-key.js';
import { decodeEvent, encodeEvent, eventTypes } from '../../src/eventstore/codec.js';
import { type EventMetadata, metadataJson } from '../../src/eventstore/port.js';
import { catchUp, openScratch } from '../projections/scratch.js';

// A golden log is never changed, since logs of its version are out there. An event gets a new field: a line is added, to the log
// and to the dump. A projection changes: the dump changes, and only it.

type Line = {
  readonly position: number;
  readonly stream: string;
  readonly revision: number;
  readonly id: string;
  readonly type: string;
  readonly recordedAt: number;
  readonly metadata: EventMetadata;
  readonly data: JsonValue;
};

const directory = new URL('../../../test/golden/', import.meta.url);
const logs = readdirSync(directory).filter((name) => /^v\d+\.jsonl$/.test(name));

function lines(name: string): string[] {
  return readFileSync(new URL(name, directory), 'utf8').trimEnd().split('\n');
}

test('the golden logs hold every type of event', (t) => {
  const types = logs.flatMap((name) => lines(name).map((line) => (JSON.parse(line) as Line).type));
  t.deepEqual([...new Set(types)].sort(), [...eventTypes].sort());
});

for (const name of logs) {
  const golden = lines(name).map((line) => JSON.parse(line) as Line);

  test(`${name}: every event is still read, and written so that nothing is lost`, (t) => {
    for (const { data, metadata, ...recorded } of golden) {
      const event = decodeEvent({ ...recorded, data: JSON.stringify(data) });
      t.is<string, string>(event.$typeName, `memoir.events.v1.${recorded.type}`);
      const written = encodeEvent(recorded.id, event, metadataJson(metadata));
      t.deepEqual(JSON.parse(written.data), data);
      t.deepEqual(JSON.parse(written.metadata), metadata);
      t.like(fromJson(EventMetadataSchema, JSON.parse(written.metadata)), { ...metadata });
      t.deepEqual(decodeEvent({ ...recorded, data: written.data }), event);
    }
  });

  test(`${name}: the read model that it gives is known`, async (t) => {
    let clock = 0;
    const scratch = await openScratch(() => clock);
    for (const { stream, revision, id, type, recordedAt, data, metadata, position } of golden) {
      clock = recordedAt;
      const event = { id, type, data: JSON.stringify(data), metadata: JSON.stringify(metadata) };
      const appended = await scratch.store.append(stream, revision === 0 ? 'no_stream' : revision - 1, [event]);
      t.deepEqual(appended, { revision, position });
    }
    const dump = await catchUp(scratch.store, scratch.path('read-model.sqlite'));
    t.deepEqual(dump, lines(name.replace('.jsonl', '-read-model.jsonl')));
    await scratch.close();
  });
}

test('the tree over the golden log is what its checkpoint says, whose key is that of RFC 8032, section 7.1, test 1', (t) => {
  const golden = lines('v1.jsonl').map((line) => JSON.parse(line) as Line);
  const bytes = Buffer.from('d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a', 'hex');
  const tree = growingTree();
  let checkpoints = 0;
  for (const { metadata, data, ...recorded } of golden) {
    if (recorded.type === 'CheckpointSigned') {
      const { note } = data as { readonly note: string };
      const { size, root } = openCheckpoint(note, [verifierKey('memoir/golden', bytes)]);
      t.is(size, tree.size());
      t.deepEqual(Buffer.from(root), tree.root());
      checkpoints++;
    }
    tree.add(leafHash({ ...recorded, metadata: JSON.stringify(metadata), data: JSON.stringify(data) }));
  }
  t.is(checkpoints, 1);
});

test('fields of a newer version are passed over', (t) => {
  const recorded = { type: 'JobDeleted', stream: 's', revision: 0 };
  const event = decodeEvent({ ...recorded, data: '{"deletedAt":"2026-03-01T10:00:00Z","whyNot":{"because":[1]}}' });
  t.deepEqual(event, decodeEvent({ ...recorded, data: '{"deletedAt":"2026-03-01T10:00:00Z"}' }));
});

test('what cannot be read is an error that names the event', (t) => {
  const cases: [type: string, data: string, message: RegExp][] = [
    ['JobPaused', '{}', /^event 3 of stream "job-1" is of type "JobPaused", which this version does not know$/],
    ['JobStarted', '{"lease":', /^event 3 of stream "job-1" is no JobStarted: /],
    ['JobStarted', '{"lease":"soon"}', /^event 3 of stream "job-1" is no JobStarted: .*Duration.*"soon"/],
    ['JobStarted', '[]', /^event 3 of stream "job-1" is no JobStarted: /],
    ['constructor', '{}', /is of type "constructor", which this version does not know$/],
  ];
  for (const [type, data, message] of cases) {
    const error = t.throws(() => decodeEvent({ type, data, stream: 'job-1', revision: 3 }), {
      name: 'StoreUnreadable',
    });
    t.regex(error?.message ?? '', message);
  }
});
