import test from 'ava';
import { eventTypes } from '../../src/eventstore/codec.js';
import { judged, whyForeign } from '../../src/eventstore/foreign.js';

const event = {
  type: 'JobStarted',
  stream: 'job-x',
  revision: 1,
  data: '{"worker":"w"}',
  metadata: '{"principal":"ada"}',
};

test('an event of Memoir is taken', (t) => {
  t.like(judged(event), { event: { worker: 'w' } });
  t.is(whyForeign(event), undefined);
});

for (const [what, change, why] of [
  ['without metadata', { metadata: '' }, /metadata/],
  ['whose metadata are null', { metadata: 'null' }, /metadata/],
  ['whose metadata are an array', { metadata: '[]' }, /metadata/],
  ['whose principal is a number', { metadata: '{"principal":1}' }, /metadata/],
  ['that is no JSON', { data: 'x' }, /is no JobStarted/],
  ['that is null', { data: 'null' }, /is no JobStarted|null/],
  ['with a field of another type', { data: '{"worker":1}' }, /is no JobStarted/],
  ['that requests a job behind another event', { type: 'JobRequested', data: '{"uuid":"x"}' }, /is there, or was/],
  ['that requests another job', { type: 'JobRequested', revision: 0, data: '{"uuid":"y"}' }, /stream of another/],
  [
    'that marks a deleted stream',
    { type: '$streamDeleted', revision: 2 ** 63, data: '', metadata: '' },
    /deleted for good/,
  ],
  ['of the store itself', { type: '$metadata' }, /store itself/],
] as const) {
  test(`an event ${what} is passed over`, (t) => {
    t.regex(judged({ ...event, ...change }).why ?? '', why);
    t.regex(whyForeign({ ...event, ...change }) ?? '', why);
  });
}

test('an event of an unknown type changes nothing, but may be told of', (t) => {
  t.regex(judged({ ...event, type: 'JobTeleported' }).why ?? '', /does not know its type/);
  t.is(whyForeign({ ...event, type: 'JobTeleported' }), undefined);
});

test('every type has streams where it can be, and no others', (t) => {
  for (const type of eventTypes) {
    t.regex(judged({ ...event, type, stream: 'other-x', revision: 0 }).why ?? '', /where no .* can be/, type);
  }
});
