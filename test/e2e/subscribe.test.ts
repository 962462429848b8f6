import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { durationFromMs, timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import test from 'ava';
import fc from 'fast-check';
import picomatch from 'picomatch';
import { systemEdge } from '../../src/edge.js';
import { eventTypes } from '../../src/eventstore/codec.js';
import { makeRepository } from '../support/git-repository.js';
import { eventsOf } from '../support/read-model.js';
import { refused } from '../support/refused.js';
import { rounds } from '../support/rounds.js';
import { fail, find, request, uuidOf } from '../support/runs.js';
import type { Clients } from '../support/server.js';
import { serverOfFile } from '../support/server-of-file.js';
import { past, type SubscribeRequest, subscriber } from '../support/subscriber.js';

const repository = makeRepository();
repository.commit({ 'run.sh': '#!/bin/sh\necho one\n', 'other.sh': '#!/bin/sh\necho two\n' });
const directory = mkdtempSync(join(tmpdir(), 'memoir-policy-'));
const policy = join(directory, 'policy.toml');
const grant = (to: string, role: string, of: string) =>
  `[[grants]]\nto = ["${to}"]\nroles = ["${role}"]\nrepositories = ["${of}"]\n`;
const grants = [
  grant('ada', 'admin', 'project'),
  grant('bob', 'submitter', 'team/*'),
  grant('bob', 'reader', 'project'),
  grant('runner', 'worker', '**'),
  grant('root', 'admin', '**'),
];
writeFileSync(policy, grants.join(''));

// A clock that goes on by seconds, so that times can be told apart.
let now = Date.UTC(2026, 0, 1);
const names = ['project', 'team/a', 'team/b'];
const server = serverOfFile({
  repositories: Object.fromEntries(names.map((name) => [name, repository.path])),
  settings: { policy },
  edge: { ...systemEdge, now: () => now },
});
type Name = 'ada' | 'bob' | 'runner' | 'root' | 'eve' | 'stranger';
const as = (name: Name): Clients => server.as(name);

test.after.always(() => {
  repository.dispose();
  rmSync(directory, { recursive: true, force: true });
});

/** Lives of jobs of every kind, and everything else that the log can hold. */
async function live(round: number): Promise<void> {
  const root = as('root');
  const step = () => {
    now += 1_000;
  };
  const owners = [as('ada'), as('bob'), root];
  for (let i = 0; i < 6; i++) {
    const owner = owners[i % 3] as Clients;
    const of = owner === as('ada') ? 'project' : (names[1 + (i % 2)] as string);
    const more = { repository: of, script: i % 2 ? 'run.sh' : 'other.sh', scriptParameters: { round, i } };
    const uuid = uuidOf(await request(owner, { ...more, scriptVersion: 'main' }));
    step();
    if (i === 5) {
      await owner.jobs.cancelJob({ uuid });
      continue;
    }
    if (i === 4) await fail(as('runner'), uuid);
    else {
      await as('runner').worker.claimJob({ uuid });
      await as('runner').worker.heartbeat({ uuid, progress: 0.5 });
      await as('runner').worker.appendJobLog([{ uuid, text: `out of ${i}` }]);
      await as('runner').worker.completeJob({ uuid, output: `sha256:${i}`, log: 'sha256:log' });
    }
    step();
    const { consistencyToken } = await owner.jobs.updateJob({
      job: { uuid, description: 'told' },
      updateMask: { paths: ['description'] },
    });
    await owner.jobs.getJob({ uuid, consistencyToken });
    await find(owner, { ...more, scriptVersion: 'main' });
    step();
    if (i === 1) await root.exclusions.excludeFromReuse({ target: { case: 'jobUuid', value: uuid }, reason: 'bad' });
    if (i === 3) await owner.jobs.deleteJob({ uuid });
  }
  const hash = `sha256:${String(round).padStart(64, '0')}`;
  await root.images.registerImage({ hash, repository: 'tool', tag: 'v1' });
  await root.exclusions.excludeFromReuse({ target: { case: 'output', value: `sha256:x${round}` }, reason: 'wrong' });
  step();
}

type Told = { readonly repository: string; readonly owner: string; readonly script: string; claimedBy?: string };

/** The log as a subscriber must see it, told in the simplest way. */
async function naively(principal: Name, wish: SubscribeRequest, after = 0): Promise<number[]> {
  const events = await eventsOf(server.config);
  const jobs = new Map<string, Told>();
  for (const { type, stream, data } of events) {
    const uuid = stream.slice('job-'.length);
    if (type === 'JobRequested') jobs.set(uuid, JSON.parse(data) as Told);
    if (type === 'JobStarted') (jobs.get(uuid) as Told).claimedBy = (JSON.parse(data) as { worker: string }).worker;
  }
  const knows = (name: string) =>
    principal === 'root' ||
    principal === 'runner' ||
    (principal === 'ada' && name === 'project') ||
    principal === 'bob';
  const { eventTypes: types = [], repositories = [], scripts = [], owners = [], jobUuids = [] } = wish;
  const none = { repository: undefined, owner: '', script: '' };
  return events
    .filter(({ position, type, stream }) => {
      const uuid = /^(?:job|reuse|joblog)-(.*)$/.exec(stream)?.[1];
      const job = uuid === undefined ? undefined : jobs.get(uuid);
      const of = job?.repository ?? /^exclusion-(?!@)(.*)$/.exec(stream)?.[1];
      const all = principal === 'root' || principal === 'runner';
      const readable = job
        ? knows(job.repository) || job.owner === principal || job.claimedBy === principal
        : of === undefined
          ? all || stream.startsWith('image-')
          : knows(of);
      const { owner, script } = job ?? none;
      return (
        position > after &&
        readable &&
        (types.length > 0 ? types.includes(type) : type !== 'JobLogAppended') &&
        (repositories.length === 0 || (of !== undefined && picomatch.isMatch(of, [...repositories]))) &&
        (scripts.length === 0 || scripts.includes(script)) &&
        (owners.length === 0 || owners.includes(owner)) &&
        (jobUuids.length === 0 || jobUuids.includes(uuid ?? ''))
      );
    })
    .map(({ position }) => position);
}

const positions = (events: readonly { readonly position: bigint }[]) => events.map(({ position }) => Number(position));

test.serial('from the beginning comes what is in the log, then what is recorded', async (t) => {
  await live(0);
  for (const name of ['root', 'ada', 'bob', 'runner', 'eve'] as const) {
    t.deepEqual(positions(await past(as(name))), await naively(name, {}), name);
  }
  const reader = subscriber(as('bob'), { start: { case: 'beginning', value: {} } });
  await live(1);
  const expected = await naively('bob', {});
  await reader.until(() => reader.positions().length >= expected.length);
  await reader.end();
  t.deepEqual(reader.positions(), expected);
});

test.serial('what a subscriber gets is what the filters let through of the whole log', async (t) => {
  const events = await eventsOf(server.config);
  const uuids = [...new Set(events.flatMap(({ stream }) => /^job-(.*)$/.exec(stream)?.[1] ?? []))];
  const some = <T>(values: readonly T[], maxLength = 2) =>
    fc.oneof({ weight: 2, arbitrary: fc.constant<T[]>([]) }, fc.array(fc.constantFrom(...values), { maxLength }));
  const wish = fc.record({
    eventTypes: some(eventTypes, 4),
    repositories: some(['project', 'team/*', '**', 'team/?', '*', 'te*/b', 'none', 'p*t']),
    scripts: some(['run.sh', 'other.sh', 'none.sh']),
    owners: some(['ada', 'bob', 'root', 'nobody']),
    jobUuids: some(uuids, 5),
  });
  const name = fc.constantFrom<Name>('root', 'ada', 'bob', 'runner', 'eve');
  await fc.assert(
    fc.asyncProperty(name, wish, async (who, asked) => {
      t.deepEqual(positions(await past(as(who), asked)), await naively(who, asked));
    }),
    { numRuns: rounds(25, 60) },
  );
});

test.serial('a subscription begins where it is told to', async (t) => {
  const events = await eventsOf(server.config);
  const root = as('root');
  const all = await naively('root', {});
  const from = async (start: NonNullable<SubscribeRequest['start']>) => positions(await past(root, { start }));
  for (const { position, recordedAt } of events.filter((_, i) => i % 7 === 0)) {
    const after = await naively('root', {}, position);
    t.deepEqual(await from({ case: 'position', value: BigInt(position) }), after);
    const atTime = events.find((event) => event.recordedAt >= recordedAt)?.position ?? 0;
    const since = await naively('root', {}, atTime - 1);
    t.deepEqual(await from({ case: 'time', value: timestampFromMs(recordedAt) }), since);
    const before = { seconds: BigInt(recordedAt / 1_000) - 1n, nanos: 999_999_999 };
    t.deepEqual(await from({ case: 'time', value: before }), since);
  }
  t.deepEqual(await from({ case: 'position', value: 0n }), all);
  t.deepEqual(await from({ case: 'time', value: { seconds: -62_135_596_800n, nanos: 0 } }), all);
  t.deepEqual(await from({ case: 'time', value: { seconds: 253_402_300_799n, nanos: 999_999_999 } }), []);
  t.deepEqual(await from({ case: 'now', value: {} }), []);
  const reader = subscriber(root);
  await reader.live();
  const { consistencyToken, ...made } = await request(root, { repository: 'project', scriptParameters: { now: 1 } });
  await reader.until(() => reader.positions().length > 0);
  t.deepEqual(reader.positions(), [Number(consistencyToken)]);
  t.is(reader.events()[0]?.stream, `job-${uuidOf(made)}`);
  await reader.end();
});

test.serial('a subscription resumes after any message, with the same filters or others', async (t) => {
  const whole = subscriber(as('bob'), { start: { case: 'beginning', value: {} }, owners: ['bob'] });
  await whole.live();
  await whole.end();
  const expected = whole.positions();
  t.true(expected.length > 10);
  for (const { resumeToken, position } of whole.messages) {
    const rest = expected.filter((other) => other > Number(position));
    const start = { case: 'resumeToken', value: resumeToken } as const;
    t.deepEqual(positions(await past(as('bob'), { start, owners: ['bob'] })), rest);
  }
  const [third] = whole.messages.slice(2);
  const start = { case: 'resumeToken', value: third?.resumeToken ?? '' } as const;
  t.deepEqual(positions(await past(as('root'), { start })), await naively('root', {}, Number(third?.position)));
});

test.serial('an envelope tells what the log has, and its CloudEvents attributes', async (t) => {
  const recorded = await eventsOf(server.config);
  const reader = subscriber(as('root'), { start: { case: 'beginning', value: {} }, eventTypes: [...eventTypes] });
  await reader.live();
  await reader.end();
  t.deepEqual(new Set(reader.events().map(({ eventType }) => eventType)).size, 13);
  for (const [i, event] of recorded.entries()) {
    const { content, cloudEvent, position } = reader.messages[i] ?? {};
    if (content?.case !== 'event' || !cloudEvent?.time) return t.fail();
    const { value } = content;
    if (!value.recordedAt) return t.fail();
    t.deepEqual(
      [Number(value.position), value.stream, value.revision, value.eventId, value.eventType],
      [event.position, event.stream, event.revision, event.id, event.type],
    );
    t.is(timestampMs(value.recordedAt), event.recordedAt);
    t.is(value.metadata?.principal, JSON.parse(event.metadata).principal);
    t.is(value.event.value?.$typeName.split('.').at(-1), event.type);
    t.is(position, value.position);
    const { time, $typeName: _, ...attributes } = cloudEvent;
    t.is(timestampMs(time), event.recordedAt);
    t.deepEqual(attributes, {
      id: event.id,
      source: '/memoir',
      specVersion: '1.0',
      type: `memoir.events.v1.${event.type}`,
      subject: event.stream,
      dataContentType: 'application/json',
      dataSchema: `https://type.googleapis.com/memoir.events.v1.${event.type}`,
      traceparent: '',
      sequence: String(event.position).padStart(16, '0'),
    });
  }
  t.is(reader.messages.at(-1)?.cloudEvent, undefined);
});

test.serial(
  'while nothing passes the filters, heartbeats tell the position, from which a subscription resumes',
  async (t) => {
    const wish = { owners: ['nobody'], heartbeatInterval: durationFromMs(1_000) };
    const reader = subscriber(as('root'), { start: { case: 'beginning', value: {} }, ...wish });
    await reader.live();
    const before = Number(reader.messages.at(-1)?.position);
    t.is(before, await server.end());
    await request(as('root'), { repository: 'project', scriptParameters: { heartbeat: 1 } });
    await reader.until(() => Number(reader.messages.at(-1)?.position) > before);
    const last = reader.messages.at(-1);
    t.deepEqual(last?.content.value, { $typeName: 'memoir.history.v1.Heartbeat', live: true });
    t.is(Number(last?.position), await server.end());
    const count = reader.messages.length;
    await reader.until(() => reader.messages.length >= count + 2);
    await reader.end();
    t.is(reader.positions().length, 0);
    const start = { case: 'resumeToken', value: last?.resumeToken ?? '' } as const;
    t.deepEqual(positions(await past(as('root'), { start })), []);
  },
);

test.serial('a changed policy holds for subscriptions that are under way', async (t) => {
  const readers = { ada: subscriber(as('ada')), stranger: subscriber(as('stranger')) };
  await Promise.all([readers.ada.live(), readers.stranger.live()]);
  const record = async (i: number) => {
    const { consistencyToken } = await request(as('root'), { repository: 'project', scriptParameters: { policy: i } });
    return Number(consistencyToken);
  };
  const first = await record(0);
  await readers.ada.until(() => readers.ada.positions().includes(first));
  writeFileSync(policy, [...grants.slice(1), grant('stranger', 'reader', 'project')].join(''));
  const seen: number[] = [];
  // The file is looked at every second.
  while (readers.stranger.positions().length === 0) {
    seen.push(await record(seen.length + 1));
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const last = await record(seen.length + 1);
  await readers.stranger.until(() => readers.stranger.positions().includes(last));
  const [from = 0] = readers.stranger.positions();
  t.true(from > first);
  t.deepEqual(
    readers.ada.positions(),
    [first, ...seen].filter((position) => position < from),
  );
  t.deepEqual(
    readers.stranger.positions(),
    [...seen, last].filter((position) => position >= from),
  );
  for (const reader of Object.values(readers)) await reader.end();
  writeFileSync(policy, grants.join(''));
});

test.serial('what cannot be used is refused by name', async (t) => {
  const root = as('root');
  const end = BigInt(await server.end());
  const of = (position: string, id: string) => Buffer.from(`${position} ${id}`).toString('base64url');
  const position = 'position';
  const resume_token = 'resume_token';
  const long = 'x'.repeat(1024 * 1024);
  const token = (value: string) => ({ start: { case: 'resumeToken', value } }) as const;
  const cases: [SubscribeRequest, string, string, string | RegExp][] = [
    [{ start: { case: position, value: end + 1n } }, 'NO_SUCH_POSITION', position, String(end + 1n)],
    [{ start: { case: position, value: 2n ** 64n - 1n } }, 'NO_SUCH_POSITION', position, '18446744073709551615'],
    [token(''), 'BAD_TOKEN', resume_token, '""'],
    [token('\0\0'), 'BAD_TOKEN', resume_token, '\\u0000'],
    [token(long), 'BAD_TOKEN', resume_token, '1048576 characters'],
    [token(of('-1', '')), 'BAD_TOKEN', resume_token, /was not given/],
    [token(of('1', '0123456789abcdef')), 'TOKEN_OF_ANOTHER_LOG', resume_token, 'another event'],
    [token(of(String(end + 1n), '0123456789abcdef')), 'TOKEN_OF_ANOTHER_LOG', resume_token, 'no event'],
    [token(of('9007199254740993', '')), 'TOKEN_OF_ANOTHER_LOG', resume_token, 'no event'],
    [{ start: { case: 'time', value: { seconds: 2n ** 62n } } }, 'OUT_OF_RANGE', 'time', String(2n ** 62n)],
    [{ start: { case: 'time', value: { nanos: -1 } } }, 'OUT_OF_RANGE', 'time', '-1'],
    [{ eventTypes: ['JobCompleted', 'JobExploded'] }, 'UNKNOWN_EVENT_TYPE', 'event_types', '"JobExploded"'],
    [{ eventTypes: ['jobCompleted'] }, 'UNKNOWN_EVENT_TYPE', 'event_types', '"jobCompleted"'],
    [{ eventTypes: Array(100_000).fill('JobCompleted') }, 'TOO_MANY', 'event_types', '100000'],
    [{ repositories: Array(100_000).fill('a') }, 'TOO_MANY', 'repositories', '100000'],
    [{ repositories: [long] }, 'TOO_LONG', 'repositories', '1048576'],
    [{ repositories: ['*', ''] }, 'BAD_GLOB', 'repositories', '""'],
    [{ repositories: ['a', '{a,b}'] }, 'BAD_GLOB', 'repositories', '"{a,b}"'],
    [{ repositories: ['@(a|b)+'] }, 'BAD_GLOB', 'repositories', '"@(a|b)+"'],
    [{ repositories: ['a\0b'] }, 'BAD_GLOB', 'repositories', '\\u0000'],
    [{ scripts: Array(1_001).fill('a') }, 'TOO_MANY', 'scripts', '1001'],
    [{ scripts: [''] }, 'REQUIRED', 'scripts', /required/],
    [{ owners: [long] }, 'TOO_LONG', 'owners', '1048576'],
    [{ jobUuids: ['job-1'] }, 'BAD_UUID', 'job_uuids', '"job-1"'],
    [{ heartbeatInterval: { seconds: -1n } }, 'OUT_OF_RANGE', 'heartbeat_interval', '-1 s'],
    [{ heartbeatInterval: { nanos: 1_000_000 } }, 'OUT_OF_RANGE', 'heartbeat_interval', '0.001 s'],
    [
      { heartbeatInterval: { seconds: 2n ** 62n } },
      'OUT_OF_RANGE',
      'heartbeat_interval',
      /4611686018427387904 seconds.* is no duration/,
    ],
  ];
  for (const [wish, reason, field, naming] of cases) {
    await refused(t, server, () => past(root, wish), { code: 'INVALID_ARGUMENT', reason, field, naming });
  }
});

test.serial('globs that are slow for a matcher that backtracks are as quick as others', async (t) => {
  const slow = `${'*a'.repeat(500)}b`;
  const started = performance.now();
  t.deepEqual(positions(await past(as('root'), { repositories: [slow] })), []);
  t.true(performance.now() - started < 5_000);
});
