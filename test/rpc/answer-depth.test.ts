import type { DescMessage } from '@bufbuild/protobuf';
import test from 'ava';
import { parametersBelow } from '../../src/domain/json.js';
import { memoirServices } from '../support/services.js';

/** What no answer holds JSON in although its message has it: what a decision was taken from, and the event that an intention is of. */
const neverAnswered = ['memoir.jobs.v1.DecisionBasis', 'memoir.events.v1.SubmissionIntended'];

/** How many messages of an answer JSON stands below at most, its own included; 0 if it holds none. Entries of maps count. */
function jsonBelow(message: DescMessage, within: readonly DescMessage[] = []): number {
  if (/^google\.protobuf\.(Struct|Value|ListValue)$/.test(message.typeName)) return within.length;
  if (within.includes(message) || neverAnswered.includes(message.typeName)) return 0;
  const depths = message.fields.map((field) => {
    const inner = field.message;
    if (!inner) return 0;
    const entry = field.fieldKind === 'map' ? [message] : [];
    return jsonBelow(inner, [...within, message, ...entry]);
  });
  return Math.max(0, ...depths);
}

test('parameters stand as deep in answers as is counted with, and no deeper', (t) => {
  const depths = memoirServices.flatMap(({ methods }) =>
    methods.map((method) => [method.name, jsonBelow(method.output)] as const),
  );
  for (const [name, depth] of depths) t.true(depth <= parametersBelow, `${name}: ${depth}`);
  t.is(Math.max(...depths.map(([, depth]) => depth)), parametersBelow);
  const known = new Map(depths);
  t.deepEqual(
    ['GetJob', 'ListJobs', 'ClaimJob', 'ReadHistory', 'SubscribeEvents', 'GetCheckpoint'].map((name) =>
      known.get(name),
    ),
    [2, 2, 2, 3, 3, 0],
  );
});
