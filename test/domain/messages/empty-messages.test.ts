import { create } from '@bufbuild/protobuf';
import test from 'ava';
import { JobStartedSchema } from '../../../gen/memoir/events/v1/events_pb.js';
import { emptyMessage, inOneLiteral } from '../../../src/domain/messages/empty-messages.js';

test('an empty message is as the library makes it, and shares nothing with another', (t) => {
  for (const schema of [...inOneLiteral.keys(), JobStartedSchema]) {
    const [one, other] = [emptyMessage(schema), emptyMessage(schema)];
    t.deepEqual(one, create(schema), schema.typeName);
    for (const [name, value] of Object.entries(one)) {
      if (typeof value === 'object') t.not(value, (other as unknown as Record<string, unknown>)[name], name);
    }
  }
});
