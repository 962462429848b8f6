import sharedPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/shared_pb.js';
import statusPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/status_pb.js';
import streamsPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/streams_pb.js';
import test from 'ava';
import * as fc from 'fast-check';
import { appendAnswerFrom } from '../../src/eventstore/kurrentdb/wire/append-answer.js';
import { appendRequest, dataFrom } from '../../src/eventstore/kurrentdb/wire/append-request.js';
import type { ExpectedRevision } from '../../src/eventstore/port.js';
import { rounds } from '../support/rounds.js';
import '../support/native-client.js';

// What Memoir's own code sends and hears of appends, beside the messages that are generated for the client of the server.

const ours = '{"principal":"p","requestId":"r","serverVersion":"1"}';

const event = fc.record({
  id: fc.uuid(),
  type: fc.string({ unit: 'grapheme', maxLength: 30 }),
  data: fc.json(),
  metadata: fc.constant(ours),
});
const expectation: fc.Arbitrary<ExpectedRevision> = fc.oneof(fc.constantFrom('any', 'no_stream'), fc.maxSafeNat());
const time = fc.integer({ min: 0, max: Date.UTC(2200, 0) });

test('an append is read by the messages of the server as it was meant', (t) => {
  fc.assert(
    fc.property(
      fc.uuid(),
      fc.string({ unit: 'grapheme' }),
      expectation,
      time,
      fc.array(event, { maxLength: 4 }),
      (id, stream, expected, deadline, events) => {
        const bytes = appendRequest(id, stream, expected, deadline, dataFrom(events));
        const read = streamsPb.BatchAppendReq.deserializeBinary(bytes);
        const options = read.getOptions();
        const { ExpectedStreamPositionCase: cases } = streamsPb.BatchAppendReq.Options;
        t.is(read.getCorrelationId()?.getString(), id);
        t.true(read.getIsFinal());
        t.is(Buffer.from(options?.getStreamIdentifier()?.getStreamName_asU8() ?? []).toString(), stream);
        t.is(options?.getDeadline21100()?.toDate().getTime(), deadline);
        const which =
          typeof expected === 'number' ? cases.STREAM_POSITION : cases[expected === 'any' ? 'ANY' : 'NO_STREAM'];
        t.is(options?.getExpectedStreamPositionCase(), which);
        if (typeof expected === 'number') t.is(options?.getStreamPosition(), String(expected));
        t.deepEqual(
          read.getProposedMessagesList().map((one) => ({
            id: one.getId()?.getString(),
            system: Object.fromEntries(one.getMetadataMap().toArray()),
            data: Buffer.from(one.getData_asU8()).toString(),
            metadata: Buffer.from(one.getCustomMetadata_asU8()).toString(),
          })),
          events.map(({ type, ...same }) => ({ ...same, system: { type, 'content-type': 'application/json' } })),
        );
      },
    ),
    { numRuns: rounds(100, 10_000) },
  );
});

test('what would not come back as it is given is refused', (t) => {
  const one = { id: 'an id', type: 'T', data: '{"a":1}', metadata: ours };
  for (const bad of [
    { data: '{ "a": 1 }', metadata: '{}' },
    { data: 'no JSON', metadata: '' },
    { metadata: '{ "by": "eve" }' },
    { metadata: `${ours.slice(0, -1)},"imported": {}}` },
    { data: '"\ud800"' },
    { metadata: ours.replace('"p"', '"\udfff"') },
  ]) {
    t.throws(() => dataFrom([one, { ...one, ...bad }]), { instanceOf: TypeError, message: /an id/ });
  }
});

test('answers are read as they were sent', (t) => {
  const id = '01234567-89ab-cdef-8123-456789abcdef';
  const answer = new streamsPb.BatchAppendResp();
  const correlation = new sharedPb.UUID();
  correlation.setString(id);
  answer.setCorrelationId(correlation);
  const stream = new sharedPb.StreamIdentifier();
  stream.setStreamName(Buffer.from('job-x'));
  answer.setStreamIdentifier(stream);
  const read = () => appendAnswerFrom(Buffer.from(answer.serializeBinary()));

  const success = new streamsPb.BatchAppendResp.Success();
  success.setCurrentRevision('7');
  const position = new sharedPb.AllStreamPosition();
  position.setCommitPosition(String(2n ** 64n - 1n));
  position.setPreparePosition('3');
  success.setPosition(position);
  answer.setSuccess(success);
  t.deepEqual(read(), { correlation: id, refusal: undefined, revision: 7, commit: 2n ** 64n - 1n });
  success.clearPosition();
  success.setNoPosition(new sharedPb.Empty());
  t.deepEqual(read(), { correlation: id, refusal: undefined, revision: 7, commit: undefined });

  const status = new statusPb.Status();
  status.setMessage('WrongExpectedVersion');
  answer.setError(status);
  t.is(read().refusal?.getMessage(), 'WrongExpectedVersion');
  t.throws(() => appendAnswerFrom(Buffer.from(answer.serializeBinary().subarray(0, 30))), { instanceOf: RangeError });
});
