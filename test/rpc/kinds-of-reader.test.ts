import { readFileSync } from 'node:fs';
import { toBinary } from '@bufbuild/protobuf';
import test from 'ava';
import { RecordedEventSchema } from '../../gen/memoir/history/v1/history_service_pb.js';
import { type Access, accessOf, type Grant, type Role, unrestricted } from '../../src/domain/access.js';
import type { RecordedEvent } from '../../src/eventstore/port.js';
import type { JobFacts } from '../../src/jobs/reading/permit.js';
import { eventMessage } from '../../src/rpc/event-message.js';
import { forKindsOfReader } from '../../src/rpc/kinds-of-reader.js';
import { redactRecorded } from '../../src/rpc/redacting.js';
import { principalsIn } from '../../src/rpc/subscribe-events.js';

const golden = readFileSync(new URL('../../../test/golden/v1.jsonl', import.meta.url), 'utf8');
const events = golden
  .trimEnd()
  .split('\n')
  .map((line) => JSON.parse(line) as Omit<RecordedEvent, 'data' | 'metadata'> & { data: object; metadata: object })
  .map(({ data, metadata, ...event }): RecordedEvent => {
    // As if each had named jobs of others: what they name, and one that nobody knows.
    const more =
      event.type === 'JobRequested' ? { components: { a: '8490871f-da67-5431-9ec2-0b7c675c0065', b: 'none' } } : {};
    return { ...event, data: JSON.stringify({ ...data, ...more }), metadata: JSON.stringify(metadata) };
  });
const jobs = new Map(
  events
    .filter(({ type }) => type === 'JobRequested')
    .map(({ data }, i) => {
      const { uuid, owner, repository, script } = JSON.parse(data) as Record<string, string>;
      return [uuid, { owner, repository, script, claimedBy: i % 2 === 0 ? 'worker-1' : '' }] as const;
    }),
);
const facts = { jobs: { facts: (uuid: string) => jobs.get(uuid) } } as unknown as JobFacts;
const repositories = [...new Set([...jobs.values()].map(({ repository }) => repository as string)), '**'];
const roles: readonly Role[] = ['reader', 'submitter', 'worker', 'admin'];
const readers: readonly Access[] = ['alice', 'bob', 'carol', 'ada', 'worker-1', 'root', 'nobody'].flatMap(
  (principal) => [
    unrestricted(principal),
    accessOf({ groups: {}, grants: [] }, principal),
    ...repositories.flatMap((repository) =>
      roles.map((role) => {
        const grants: Grant[] = [{ to: [principal], roles: [role], repositories: [repository] }];
        return accessOf({ groups: {}, grants }, principal);
      }),
    ),
  ],
);

test('every reader is given what was made for its kind, which is what would be made for it alone', (t) => {
  const bytes = (event: ReturnType<typeof eventMessage>) =>
    Buffer.from(toBinary(RecordedEventSchema, event)).toString('hex');
  let made = 0;
  for (const recorded of events) {
    const give = forKindsOfReader(facts, principalsIn(eventMessage(recorded)), (reader) => {
      made++;
      return bytes(redactRecorded(reader, eventMessage(recorded)));
    });
    for (const access of readers) {
      const alone = bytes(redactRecorded({ access, facts }, eventMessage(recorded)));
      if (give(access) !== alone) t.fail(`${access.principal} is told otherwise of event ${recorded.position}`);
    }
  }
  t.true(made < events.length * 12, `${made} were made for ${events.length * readers.length} readings`);
  t.true(made > events.length, 'of some there is more than one kind');
});
