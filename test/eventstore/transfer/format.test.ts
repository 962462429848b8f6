import test from 'ava';
import fc from 'fast-check';
import type { RecordedEvent } from '../../../src/eventstore/port.js';
import { openSqliteImporter } from '../../../src/eventstore/sqlite/importer.js';
import { eventLine, lineFrom } from '../../../src/eventstore/transfer/format.js';
import { rounds } from '../../support/rounds.js';
import { same } from '../../support/same.js';
import { eventsIn, eventsOfFile, fileOfSqlite, scratch } from './scratch.js';

/** Texts that a store can hold and that are not what JSON.stringify makes of what they mean, or are at its edges. */
const awkward = [
  '{"__proto__":{"a":1},"constructor":null,"toString":[]}',
  '{"b":1,"2":2,"1":1}',
  '{"a":1,"a":2}',
  '{"a": 1}',
  '1e21',
  '1e+21',
  '-0',
  '1.0',
  '1e400',
  '12345678901234567890',
  '"\\ud800"',
  '"\\uDC00\\u0041"',
  '"\u2028\u2029\ufeff\uffff"',
  '"a\\u0000b"',
  'a\0b',
  '\ufeff{}',
  '{"a":\n1}',
  '{"open":',
  'no JSON',
  '"\\u00e9"',
  `${'['.repeat(50_000)}${']'.repeat(50_000)}`,
  JSON.stringify({ decision: { summary: '"\\\n😀'.repeat(100_000) } }),
];

const text = fc.oneof(
  fc.json(),
  fc.jsonValue({ maxDepth: 6 }).map((value) => JSON.stringify(value)),
  fc.string({ unit: 'binary', minLength: 1 }).map((some) => some.toWellFormed()),
  fc
    .dictionary(fc.oneof(fc.string(), fc.nat().map(String), fc.constant('__proto__')), fc.double())
    .map((value) => JSON.stringify(value)),
  fc.constantFrom(...awkward),
);

const event: fc.Arbitrary<RecordedEvent> = fc.record({
  position: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
  stream: fc
    .tuple(fc.constantFrom('job-', 'joblog-', 'image-', 'exclusion-'), fc.string({ unit: 'binary' }))
    .map(([prefix, name]) => `${prefix}${name.toWellFormed().replaceAll('\0', '')}`),
  revision: fc.nat(),
  id: fc.uuid(),
  type: fc.constantFrom('JobLogAppended', 'Unheard'),
  recordedAt: fc.integer({ min: -8.64e15, max: 8.64e15 }),
  metadata: text,
  data: text,
});

test('a line gives the event back letter by letter, and is JSON of one line', (t) => {
  fc.assert(
    fc.property(event, (one) => {
      const line = eventLine(one);
      t.deepEqual(lineFrom(line), { event: one });
      t.false(line.includes('\n'));
      const { data, data_text } = JSON.parse(line);
      if (data === undefined) t.is(data_text, one.data);
      else t.is(JSON.stringify(data), one.data);
    }),
    { numRuns: rounds(300, 1_000) },
  );
});

test('what a server records stands in the line as it is, for other tools', (t) => {
  for (const data of ['{"uuid":"x","progress":0.5,"list":[1,null,"ü\\ud800"]}', '{}', '{"__proto__":1}']) {
    const line = eventLine({ ...fixed, data });
    t.true(line.endsWith(`,"metadata":{"principal":"alice"},"data":${data}}`), line);
  }
});

test('a log of any events comes back from its file, in whatever pieces that is read', async (t) => {
  const path = scratch(t);
  let run = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ event, gap: fc.nat(3) }), { minLength: 1, maxLength: 40 }),
      fc.integer({ min: 1, max: 5_000 }),
      async (given, size) => {
        const revisions = new Map<string, number>();
        let position = 0;
        const events = given.map(({ event: one, gap }) => {
          position += 1 + gap;
          const revision = revisions.get(one.stream) ?? 0;
          revisions.set(one.stream, revision + 1);
          return { ...one, position, revision };
        });
        const file = path(`${run++}.sqlite`);
        const importer = openSqliteImporter(file);
        await importer.record(events);
        await importer.finish();
        await importer.close();
        same(t, await eventsIn(file), events);
        same(t, await eventsOfFile(await fileOfSqlite(file), size), events);
      },
    ),
    { numRuns: rounds(10, 25) },
  );
});

const fixed: RecordedEvent = {
  position: 1,
  stream: 'job-1',
  revision: 0,
  id: '00000000-0000-4000-8000-000000000000',
  type: 'JobLogAppended',
  recordedAt: 0,
  metadata: '{"principal":"alice"}',
  data: '{}',
};
