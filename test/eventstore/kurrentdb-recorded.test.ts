import sharedPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/shared_pb.js';
import streamsPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/streams_pb.js';
import test from 'ava';
import { checkpointFrom, recordedFrom } from '../../src/eventstore/kurrentdb/recorded.js';
import { readAnswerFrom, type SentEvent } from '../../src/eventstore/kurrentdb/wire/read-answer.js';
import { StoreUnreadable } from '../../src/eventstore/port.js';
import '../support/native-client.js';

// What becomes of an event as it comes from the server. Its text is hashed and exported, so that it must stay what it was.

const ours = '{"principal":"p","requestId":"r","serverVersion":"1"}';

type Sent = {
  readonly data?: string;
  readonly metadata?: string;
  readonly contentType?: string;
  readonly created?: string;
  readonly commit?: string;
  readonly structured?: readonly [most: string, least: string];
};

function sent({ data = '{"a":1}', metadata = ours, contentType = 'application/json', ...more }: Sent) {
  const event = new streamsPb.ReadResp.ReadEvent.RecordedEvent();
  const id = new sharedPb.UUID();
  id.setString('01234567-89ab-cdef-8123-456789abcdef');
  if (more.structured) {
    const structured = new sharedPb.UUID.Structured();
    structured.setMostSignificantBits(more.structured[0]);
    structured.setLeastSignificantBits(more.structured[1]);
    id.setStructured(structured);
  }
  event.setId(id);
  const stream = new sharedPb.StreamIdentifier();
  stream.setStreamName(Buffer.from('job-ä'));
  event.setStreamIdentifier(stream);
  event.setStreamRevision('7');
  event.setCommitPosition(more.commit ?? '42');
  event.setPreparePosition(more.commit ?? '42');
  event.setData(Buffer.from(data));
  event.setCustomMetadata(Buffer.from(metadata));
  event.getMetadataMap().set('type', 'JobRequested');
  event.getMetadataMap().set('content-type', contentType);
  event.getMetadataMap().set('created', more.created ?? '17958822379999999');
  // As it comes over the wire.
  const read = new streamsPb.ReadResp.ReadEvent();
  read.setEvent(event);
  const answer = new streamsPb.ReadResp();
  answer.setEvent(read);
  return recordedFrom('node:1', readAnswerFrom(Buffer.from(answer.serializeBinary())).event as SentEvent);
}

test('an event of Memoir is as it was written, its time to the second', (t) => {
  t.deepEqual(sent({}), {
    id: '01234567-89ab-cdef-8123-456789abcdef',
    type: 'JobRequested',
    stream: 'job-ä',
    data: '{"a":1}',
    metadata: ours,
    revision: 7,
    position: 42,
    recordedAt: 1_795_882_237_000,
  });
  t.is(sent({ created: '0' }).recordedAt, 0);
  t.is(sent({ created: 'soon' }).recordedAt, 0);
});

test('JSON of others is as JSON.stringify writes it, and what is none is a string; bytes are text', (t) => {
  for (const [data, metadata, as] of [
    ['{ "a" : 1.0 }', '{"by": "eve"}', ['{"a":1}', '{"by":"eve"}']],
    ['{ "a" : 1.0 }', '', ['{"a":1}', '']],
    ['not JSON', 'neither', ['"not JSON"', 'neither']],
    ['', '[]', ['""', '[]']],
  ] as const) {
    const event = sent({ data, metadata });
    t.deepEqual([event.data, event.metadata], [...as]);
  }
  t.is(sent({ data: '{ "a" : 1 }', metadata: '', contentType: 'application/octet-stream' }).data, '{ "a" : 1 }');
});

test('an imported event has the time that it had, and nothing of the import in its metadata', (t) => {
  const metadata = `${ours.slice(0, -1)},"imported":{"position":3,"recordedAt":1234}}`;
  t.like(sent({ metadata }), { metadata: ours, recordedAt: 1_234 });
  // Whoever writes that word elsewhere is not taken for an import.
  const named = ours.replace('"p"', '"\\"imported\\":"');
  t.like(sent({ metadata: named }), { metadata: named, recordedAt: 1_795_882_237_000 });
});

test('an id may come as two numbers', (t) => {
  const id = 'fedcba98-7654-4321-8000-000000000001';
  const bits = (hex: string) => String(BigInt.asIntN(64, BigInt(`0x${hex}`)));
  t.is(sent({ structured: [bits('fedcba9876544321'), bits('8000000000000001')] }).id, id);
});

test('positions that are none, or too big, are refused; a checkpoint of such is none', (t) => {
  t.is(sent({ commit: '9007199254740991' }).position, Number.MAX_SAFE_INTEGER);
  t.throws(() => sent({ commit: '9007199254740992' }), {
    instanceOf: StoreUnreadable,
    message: /beyond 900719925474099/,
  });
  t.throws(() => sent({ commit: String(2n ** 64n - 1n) }), { instanceOf: StoreUnreadable, message: /too old/ });
  t.is(checkpointFrom(42), 42);
  t.is(checkpointFrom(2n ** 64n - 1n), undefined);
});
