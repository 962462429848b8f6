import sharedPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/shared_pb.js';
import streamsPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/streams_pb.js';
import test from 'ava';
import * as fc from 'fast-check';
import { readAnswerFrom } from '../../src/eventstore/kurrentdb/wire/read-answer.js';
import { rounds } from '../support/rounds.js';
import '../support/native-client.js';

// What is read of the messages of the server by Memoir's own code is what the messages that are generated for its client hold.

const { RecordedEvent } = streamsPb.ReadResp.ReadEvent;

const uint64 = fc.oneof(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.bigInt({ min: 0n, max: 300n })).map(String);
const text = fc.string({ unit: 'binary', maxLength: 200 });
const bytes = fc.uint8Array({ maxLength: 200 });

const sent = fc.record({
  id: fc.oneof(fc.uuid(), fc.tuple(uint64, uint64)),
  stream: text,
  revision: uint64,
  position: uint64,
  system: fc.dictionary(fc.oneof(fc.constantFrom('type', 'content-type', 'created'), text), text, { maxKeys: 6 }),
  data: bytes,
  metadata: bytes,
  linked: fc.boolean(),
});

type Sent = typeof sent extends fc.Arbitrary<infer S> ? S : never;

function eventFrom({ id, stream, revision, position, system, data, metadata }: Sent) {
  const event = new RecordedEvent();
  const uuid = new sharedPb.UUID();
  if (typeof id === 'string') uuid.setString(id);
  else {
    const structured = new sharedPb.UUID.Structured();
    structured.setMostSignificantBits(String(BigInt.asIntN(64, BigInt(id[0]))));
    structured.setLeastSignificantBits(String(BigInt.asIntN(64, BigInt(id[1]))));
    uuid.setStructured(structured);
  }
  event.setId(uuid);
  const name = new sharedPb.StreamIdentifier();
  name.setStreamName(Buffer.from(stream));
  event.setStreamIdentifier(name);
  event.setStreamRevision(revision);
  event.setCommitPosition(position);
  event.setPreparePosition(position);
  for (const [key, value] of Object.entries(system)) event.getMetadataMap().set(key, value);
  event.setData(data);
  event.setCustomMetadata(metadata);
  return event;
}

function answerWith(one: Sent): Buffer {
  const read = new streamsPb.ReadResp.ReadEvent();
  read.setEvent(eventFrom(one));
  if (one.linked) read.setLink(eventFrom({ ...one, stream: 'a link', data: Buffer.from('a link') }));
  read.setCommitPosition('99');
  const answer = new streamsPb.ReadResp();
  answer.setEvent(read);
  return Buffer.from(answer.serializeBinary());
}

const idOf = ({ id }: Sent) => {
  if (typeof id === 'string') return id;
  const hex = id.map((half) => BigInt(half).toString(16).padStart(16, '0')).join('');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
};

test('an event is read as it was sent', (t) => {
  fc.assert(
    fc.property(sent, (one) => {
      const given = readAnswerFrom(answerWith(one));
      const again = streamsPb.ReadResp.deserializeBinary(answerWith(one)).getEvent()?.getEvent();
      const map = again?.getMetadataMap();
      t.deepEqual(
        { ...given.event, revision: String(given.event?.revision), commit: String(given.event?.commit) },
        {
          id: idOf(one),
          stream: one.stream,
          revision: again?.getStreamRevision() ?? '',
          commit: again?.getCommitPosition() ?? '',
          type: map?.get('type'),
          contentType: map?.get('content-type'),
          created: map?.get('created'),
          data: Buffer.from(one.data).toString(),
          metadata: Buffer.from(one.metadata).toString(),
        },
      );
      t.false(given.confirmed);
      t.is(given.checkpoint, undefined);
    }),
    { numRuns: rounds(100, 10_000) },
  );
});

test('a message that breaks off is malformed, wherever it does', (t) => {
  fc.assert(
    fc.property(sent, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (one, part) => {
      const whole = answerWith(one);
      const length = Math.max(1, Math.floor(whole.length * part));
      t.throws(() => readAnswerFrom(whole.subarray(0, length)), { instanceOf: RangeError });
    }),
    { numRuns: rounds(100, 10_000) },
  );
});

test('whatever bytes there are, they are read or refused, and take no time', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (some) => {
      try {
        readAnswerFrom(Buffer.from(some));
      } catch (error) {
        t.true(error instanceof RangeError);
      }
    }),
    { numRuns: rounds(1_000, 100_000) },
  );
  t.throws(() => readAnswerFrom(Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f])), {
    instanceOf: RangeError,
  });
  t.throws(() => readAnswerFrom(Buffer.alloc(20, 0xff)), { instanceOf: RangeError, message: /without end/ });
});

test('confirmations and checkpoints are told, what else there is is passed over', (t) => {
  const confirmation = new streamsPb.ReadResp();
  confirmation.setConfirmation(new streamsPb.ReadResp.SubscriptionConfirmation());
  t.deepEqual(readAnswerFrom(Buffer.from(confirmation.serializeBinary())), {
    event: undefined,
    confirmed: true,
    checkpoint: undefined,
  });
  for (const [position, read] of [
    ['0', 0],
    ['42', 42],
    [String(2n ** 64n - 1n), 2n ** 64n - 1n],
    [String(2n ** 53n), 2n ** 53n],
    [String(2n ** 53n - 1n), 2 ** 53 - 1],
  ] as const) {
    const checkpoint = new streamsPb.ReadResp.Checkpoint();
    checkpoint.setCommitPosition(position);
    checkpoint.setPreparePosition(position);
    const answer = new streamsPb.ReadResp();
    answer.setCheckpoint(checkpoint);
    t.is(readAnswerFrom(Buffer.from(answer.serializeBinary())).checkpoint, read);
  }
  const caughtUp = new streamsPb.ReadResp();
  caughtUp.setCaughtUp(new streamsPb.ReadResp.CaughtUp());
  const nothing = { event: undefined, confirmed: false, checkpoint: undefined };
  t.deepEqual(readAnswerFrom(Buffer.from(caughtUp.serializeBinary())), nothing);
  t.deepEqual(readAnswerFrom(Buffer.alloc(0)), nothing);
});
