import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { RecordedEvent } from '../../src/eventstore/port.js';
import { openScratch } from '../projections/scratch.js';
import { makeProject } from '../support/project.js';
import { find, plenty, uuidOf } from '../support/runs.js';
import { startTestServer } from '../support/server.js';
import { audited, eventsOf, forged } from './scene.js';

type Json = Record<string, unknown> & {
  uuid: string;
  requiredLabels?: Record<string, string>;
  decision: { outcome: string; uuid: string; candidates?: { uuid: string; state: string; ruledOutBy?: string }[] };
  basis: Record<string, unknown> & {
    position: string;
    rules: number;
    ownUnfinishedOnly?: boolean;
    requiredLabels?: Record<string, string>;
  };
};

const project = makeProject();
const directory = mkdtempSync(join(tmpdir(), 'memoir-audit-shared-'));
const places = { project: project.repository.path };
const server = await startTestServer({ repositories: places });
await decideShared();
await server.stop();
const live = join(server.config.data_dir, 'events.sqlite');
const events = await eventsOf(live);
const dataOf = ({ data }: Pick<RecordedEvent, 'data'>) => JSON.parse(data) as Json;
const decided = events.filter((event) => dataOf(event).decision !== undefined);

test.after.always(async () => {
  await server.dispose();
  project.repository.dispose();
  rmSync(directory, { recursive: true });
});

/** Lets rule set 2 decide: whatever it has that set 1 has not. */
async function decideShared(): Promise<void> {
  const [ada, bob, cleo, dora] = [server.as('ada'), server.as('bob'), server.as('cleo'), server.as('dora')];
  const work = { scriptParameters: { n: 1 } };
  const labelled = { ...work, requiredLabels: { gpu: 'a100', zone: 'x' } };

  const plain = uuidOf(await find(ada, work));
  await find(bob, { ...work, submitId: 'bobs' });
  await find(ada, labelled);
  await find(bob, labelled);
  await bob.worker.claimJob({ uuid: plain, offer: plenty });
  await find(cleo, work);
  await find(cleo, { ...work, maxHeartbeatAge: { seconds: 3_600n } });
  const filters = [
    ['repository', 'project'],
    ['script', 'run.sh'],
  ].map(([attribute = '', value = '']) => ({
    attribute,
    operator: '=',
    operand: { kind: { case: 'stringValue' as const, value } },
  }));
  await find(dora, { ...work, filters });
  await bob.worker.completeJob({ uuid: plain, output: 'sha256:out', log: 'sha256:log' });
  await find(bob, labelled);

  // Given back by its worker, it waits again, and is joined so.
  const again = { scriptParameters: { n: 2 } };
  const uuid = uuidOf(await find(ada, again));
  const { claimToken } = await bob.worker.claimJob({ uuid, offer: plenty });
  const stopped = { uuid, claimToken, reason: 'WORKER_STOPPED', message: 'stopped', givenBack: true };
  const { consistencyToken } = await bob.worker.failJob(stopped);
  await ada.jobs.getJob({ uuid, consistencyToken });
  await find(cleo, again);

  // Run again by hand beside another run, that is the answer, queued and complete.
  const retried = { scriptParameters: { n: 4 } };
  const gone = uuidOf(await find(ada, retried));
  await ada.jobs.cancelJob({ uuid: gone });
  const beside = uuidOf(await find(cleo, retried));
  for (const who of [ada, dora]) await who.jobs.retryJob({ uuid: gone, priority: 1 });
  const { claimToken: token } = await bob.worker.claimJob({ uuid: beside, offer: plenty });
  await bob.worker.completeJob({ uuid: beside, claimToken: token, output: 'sha256:out', log: 'sha256:log' });
  await bob.jobs.retryJob({ uuid: gone });

  // What a worker ran is out of reuse, running and complete, until that is lifted.
  const spoilt = { scriptParameters: { n: 3 } };
  const ran = uuidOf(await find(ada, spoilt));
  const claim = await bob.worker.claimJob({ uuid: ran, offer: plenty, workerName: 'cellar' });
  const worker = { principal: 'bob', workerName: 'cellar', since: { seconds: 1n } };
  const order = { target: { case: 'worker' as const, value: worker }, reason: 'bad RAM' };
  const { exclusion } = await ada.exclusions.excludeFromReuse(order);
  await find(cleo, spoilt);
  const results = { output: 'sha256:bad', log: 'sha256:log' };
  await bob.worker.completeJob({ uuid: ran, claimToken: claim.claimToken, ...results });
  await find(dora, spoilt);
  await ada.exclusions.reinstateForReuse({ id: exclusion?.id ?? '', reason: 'it was not' });
  await find(dora, spoilt);

  server.config.reuse.share_unfinished = 'owner';
  await server.restart();
  await find(server.as('bob'), again);
  await find(server.as('ada'), again);
}

/** What an event decided, in short: type, outcome, rules that ruled candidates out. */
function inShort(event: RecordedEvent): string {
  const { decision, basis } = dataOf(event);
  const rules = (decision.candidates ?? []).map(({ ruledOutBy = 'ANSWER' }) => ruledOutBy.replace('RULE_', ''));
  return `${event.type} ${basis.rules} ${decision.outcome.replace('OUTCOME_', '')}: ${rules.join(' ')}`;
}

/** Audits the log with the data of the first event that decided so changed. */
function falsified(name: string, which: string, change: (data: Json) => void): ReturnType<typeof audited> {
  const found = decided.find((event) => inShort(event) === which);
  if (!found) throw new Error(`no event decided ${which}`);
  const changed = events.map((event) => {
    if (event !== found) return event;
    const data = dataOf(event);
    change(data);
    return { ...event, data: JSON.stringify(data) };
  });
  return audited(forged(live, join(directory, `${name}.sqlite`), changed), places);
}

test('decisions of rule set 2 come out the same: new jobs, joined ones and reused ones', async (t) => {
  t.deepEqual(decided.map(inShort), [
    'JobRequested 2 CREATED_NO_MATCH: ',
    'JobJoined 2 REUSED_QUEUED: ANSWER',
    'JobRequested 2 CREATED_NO_MATCH: LABELS',
    'JobJoined 2 REUSED_QUEUED: LABELS ANSWER',
    'JobJoined 2 REUSED_RUNNING: ANSWER LABELS',
    'JobReused 2 REUSED_RUNNING: ANSWER LABELS',
    'JobJoined 2 REUSED_RUNNING: ANSWER LABELS',
    'JobReused 2 REUSED_COMPLETE: ANSWER NOT_PREFERRED',
    'JobRequested 2 CREATED_NO_MATCH: ',
    'JobJoined 2 REUSED_QUEUED: ANSWER',
    'JobRequested 2 CREATED_NO_MATCH: ',
    'JobRequested 2 CREATED_NO_MATCH: STATE',
    'JobJoined 2 REUSED_QUEUED: STATE ANSWER',
    'JobJoined 2 REUSED_QUEUED: STATE ANSWER',
    'JobReused 2 REUSED_COMPLETE: STATE ANSWER',
    'JobRequested 2 CREATED_NO_MATCH: ',
    'JobRequested 2 CREATED_NO_MATCH: EXCLUDED',
    'JobJoined 2 REUSED_QUEUED: EXCLUDED ANSWER',
    'JobReused 2 REUSED_COMPLETE: ANSWER NOT_PREFERRED',
    'JobRequested 2 CREATED_NO_MATCH: OWNER',
    'JobReused 2 REUSED_QUEUED: ANSWER OWNER',
  ]);
  const { report, findings } = await audited(live, places);
  t.deepEqual(findings, []);
  t.like(report, { same: decided.length, differing: 0, underivable: 0, byLogBefore: 0 });
});

const another = '11111111-1111-5111-8111-111111111111';
const joinedQueued = 'JobJoined 2 REUSED_QUEUED: ANSWER';
const joinedRunning = 'JobJoined 2 REUSED_RUNNING: ANSWER LABELS';
const newByLabels = 'JobRequested 2 CREATED_NO_MATCH: LABELS';
const newByOwner = 'JobRequested 2 CREATED_NO_MATCH: OWNER';
const joinedByLabels = 'JobJoined 2 REUSED_QUEUED: LABELS ANSWER';
const reusedComplete = 'JobReused 2 REUSED_COMPLETE: ANSWER NOT_PREFERRED';

const firstJob = decided
  .slice(0, 1)
  .map((event) => dataOf(event).uuid)
  .join();
const labelledJob = decided
  .slice(2, 3)
  .map((event) => dataOf(event).uuid)
  .join();
const everything = ['outcome', 'uuid', 'candidate', 'funnel'];
const onlyOwn = ({ basis }: Json) => {
  basis.ownUnfinishedOnly = true;
};

/** What is falsified of which decision, and what tells it: the things that differ, or else why it is found. */
const falsifications: readonly [string, which: string, change: (data: Json) => void, told: string[] | RegExp][] = [
  ['a new job for which there was an answer', newByOwner, ({ basis }) => delete basis.ownUnfinishedOnly, everything],
  ['a new job by other labels', newByLabels, ({ basis }) => delete basis.requiredLabels, everything],
  [
    'a new job that requires other labels than were decided on',
    newByLabels,
    ({ basis }) => {
      basis.requiredLabels = { gpu: 'h100' };
    },
    /^its job has required_labels .*a100.*, but it was decided on .*h100/,
  ],
  ['a new job with the uuid of another', newByLabels, ({ decision }) => (decision.uuid = another), ['uuid']],
  ['a new job by rule set 1', newByLabels, ({ basis }) => (basis.rules = 1), everything],
  ['a queued job whose decision names another', joinedQueued, ({ decision }) => (decision.uuid = another), ['uuid']],
  ['a queued job that was not there', joinedQueued, (data) => (data.uuid = another), /was not there at position/],
  [
    'a join told of another job',
    joinedByLabels,
    (data) => (data.uuid = firstJob),
    /^it is for job .*, but recorded as/,
  ],
  ['a queued job that only its owner was given', joinedQueued, onlyOwn, everything],
  ['a running job that only its owner was given', joinedRunning, onlyOwn, everything],
  ['a queued job by rule set 1', joinedQueued, ({ basis }) => (basis.rules = 1), everything],
  [
    'a running job that was queued',
    joinedRunning,
    ({ decision }) => (decision.outcome = 'OUTCOME_REUSED_QUEUED'),
    ['outcome'],
  ],
  ['a queued job by other labels', joinedByLabels, ({ basis }) => delete basis.requiredLabels, ['uuid', 'candidate']],
  [
    'an answer told of another job',
    reusedComplete,
    (data) => (data.uuid = labelledJob),
    /^it is for job .*, but recorded as/,
  ],
  [
    'a complete job whose decision names another',
    reusedComplete,
    ({ decision }) => (decision.uuid = another),
    ['uuid'],
  ],
];

for (const [name, which, change, told] of falsifications) {
  test(`a falsified decision of rule set 2 is found: ${name}`, async (t) => {
    const { report, findings } = await falsified(name, which, change);
    t.like(report, { differing: 1, underivable: 0, same: decided.length - 1 });
    const [{ position, why = '', differences = [] } = {}] = findings;
    t.is(position, decided.find((event) => inShort(event) === which)?.position);
    if (told instanceof RegExp) t.regex(why, told);
    t.deepEqual(
      differences.map(({ what }) => what),
      told instanceof RegExp ? [] : told,
    );
  });
}

test('a job that is joined when it had finished already is found', async (t) => {
  const place = events.findIndex(({ type }) => type === 'JobCompleted');
  const [joined, completed] = events.slice(place - 1);
  if (!joined || !completed) return t.fail();
  t.deepEqual([joined.type, joined.stream], ['JobJoined', completed.stream]);
  const swapped = [...events];
  swapped[place - 1] = { ...completed, revision: joined.revision };
  swapped[place] = { ...joined, revision: completed.revision };
  const { report, findings } = await audited(forged(live, join(directory, 'finished.sqlite'), swapped), places);
  t.is(report.differing, 1);
  t.is(findings[0]?.position, place + 1);
  t.regex(findings[0]?.why ?? '', /^it joins job .*, which was Complete already$/);
});

test('the decisions of either rule set in the golden log come out the same', async (t) => {
  const text = readFileSync(new URL('../../../test/golden/v1.jsonl', import.meta.url), 'utf8');
  type Line = Omit<RecordedEvent, 'data' | 'metadata'> & { readonly data: Json; readonly metadata: object };
  const golden = text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
  let clock = 0;
  const scratch = await openScratch(() => clock);
  t.teardown(() => scratch.close());
  for (const { stream, revision, id, type, recordedAt, data, metadata } of golden) {
    clock = recordedAt;
    const event = { id, type, data: JSON.stringify(data), metadata: JSON.stringify(metadata) };
    await scratch.store.append(stream, revision === 0 ? 'no_stream' : revision - 1, [event]);
  }
  const { findings } = await audited(scratch.logPath, {});
  const found = new Set(findings.map(({ position }) => position));
  // Older lines tell of logs and repositories that there are not.
  const same = golden.filter(({ position, data }) => data.basis && !found.has(position));
  t.deepEqual(
    same.map(({ position, type, data }) => [position, type, data.basis.rules ?? 1]),
    [
      [36, 'JobRequested', 1],
      [75, 'JobRequested', 2],
      [76, 'JobJoined', 2],
      [77, 'JobRequested', 2],
      [78, 'JobRequested', 2],
      [80, 'JobJoined', 2],
      [82, 'JobReused', 2],
      [126, 'JobRequested', 2],
      [132, 'JobRequested', 2],
      [135, 'JobRequested', 2],
      [136, 'JobRequested', 2],
      [138, 'JobRequested', 2],
      [141, 'JobReused', 2],
    ],
  );
});
