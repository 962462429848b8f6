import test from 'ava';
import { firstGeneration } from '../../src/domain/generation.js';
import { systemEdge } from '../../src/edge.js';
import { placeOf, resumeTokenOf } from '../../src/history/place.js';
import { newEvent } from '../contract/events.js';
import { openOnDouble } from '../eventstore/kurrentdb-double.js';

test('a position beyond the end of a store that others write is refused for good only after some time', async (t) => {
  const { store } = await openOnDouble(t);
  await store.append('joblog-a', 'any', [newEvent(1)]);
  let now = 0;
  const readModel = { generation: () => firstGeneration };
  const context = { store, readModel, history: undefined as never, edge: { ...systemEdge, monotonic: () => now } };
  const ahead = (await store.end()) + 10_000;
  const token = resumeTokenOf(readModel, { position: ahead, eventId: '00000000-0000-4000-8000-000000000000' });
  for (const beginning of [
    { at: 'position', position: BigInt(ahead) + 1n },
    { at: 'token', token },
  ] as const) {
    for (const passed of [0, 9_000]) {
      now += passed;
      await t.throwsAsync(placeOf(context, beginning), { message: /is beyond the end of the log/ });
    }
    now += 1_000;
    await t.throwsAsync(placeOf(context, beginning), { message: /no event/ });
  }
  const exclusive = { ...context, store: { ...store, exclusive: true } };
  await t.throwsAsync(placeOf(exclusive, { at: 'position', position: BigInt(ahead) + 2n }), { message: /no event/ });
});
