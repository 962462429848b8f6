import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import test from 'ava';
import { RecordedEventSchema } from '../../gen/memoir/history/v1/history_service_pb.js';
import { Outcome, Rule } from '../../gen/memoir/jobs/v1/decision_pb.js';
import { JobSchema, JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { storyLines } from '../../src/cli/audit/history.js';
import { jobSheet, jobTable } from '../../src/cli/text/job-view.js';
import { age, span } from '../../src/cli/text/time-text.js';

const now = 1_700_000_000_000;
const hostile = '\u001b[2Jx\nforged line';

const job = create(JobSchema, {
  uuid: '555cf8bc-be67-5a2e-b5ea-c629c736fa70',
  owner: hostile,
  repository: 'demo',
  script: 'analysis/run.sh',
  scriptVersion: 'ab'.repeat(20),
  suppliedScriptVersion: hostile,
  scriptParameters: { b: hostile, a: [1, 'x'.repeat(200)] },
  state: JobState.RUNNING,
  progress: 0.999,
  progressMessage: hostile,
  priority: -3,
  description: hostile,
  components: { [hostile]: hostile },
  createdAt: timestampFromMs(now - 90_000),
});

test('a table has a line for each job, whole uuids and aligned columns', (t) => {
  const other = create(JobSchema, { ...job, owner: 'ada', state: JobState.QUEUED, priority: 1000 });
  const lines = jobTable([job, other], now).split('\n');
  t.is(lines.length, 3);
  const [head = '', ...rows] = lines;
  for (const row of rows) {
    t.true(row.startsWith(`${job.uuid}  `));
    t.is(row.indexOf('demo'), head.indexOf('REPOSITORY'));
    t.is(row.indexOf('90 s ago'), head.indexOf('CREATED'));
    t.is(row, row.trimEnd());
  }
  t.regex(rows[0] ?? '', /Running 99 %/);
  t.regex(rows[0] ?? '', /\\e\[2Jx\\nforged line/);
  t.true((rows[0] ?? '').length < 400);
});

test('nothing that others wrote reaches the terminal unescaped', (t) => {
  t.notRegex(jobTable([job], now).replaceAll('\n', ''), /\p{Cc}/u);
  const sheet = jobSheet(job, now);
  t.notRegex(sheet.replaceAll('\n', ''), /\p{Cc}/u);
  const decision = {
    outcome: Outcome.CREATED_NO_MATCH,
    summary: hostile,
    candidateCount: 7,
    resolutions: [{ field: 'script_version', given: hostile, resolved: hostile }],
    funnel: [{ rule: Rule.DELETED, ruledOut: 2, left: 3 }],
    candidates: [{ uuid: hostile, state: JobState.FAILED, ruledOutBy: Rule.STATE, detail: hostile }],
  };
  const lines = storyLines(
    create(RecordedEventSchema, {
      eventType: 'JobRequested',
      recordedAt: timestampFromMs(now),
      metadata: { principal: hostile },
      event: { case: 'jobRequested', value: { ...job, $typeName: 'memoir.events.v1.JobRequested', decision } as never },
    }),
    undefined,
  );
  for (const line of lines) t.notRegex(line, /\p{Cc}/u);
  t.true(lines.some((line) => line.includes('ruled out by state')));
  t.true(lines.some((line) => line.includes('deleted ruled out 2, 3 left')));
  t.true(lines.some((line) => line.includes('and 6 more candidates')));
});

test('lines of a value with several stay apart from the names of others', (t) => {
  const forged = create(JobSchema, { ...job, description: 'first\nuuid            forged' });
  const names = jobSheet(forged, now)
    .split('\n')
    .filter((line) => line.startsWith('uuid'));
  t.is(names.length, 1);
  t.true(names[0]?.endsWith(job.uuid));
});

for (const [ms, text] of [
  [0, '0 ms'],
  [999, '999 ms'],
  [1_250, '1.25 s'],
  [59_900, '59 s'],
  [120_000, '2 min'],
  [7_200_000, '2 h'],
  [172_800_000, '2 d'],
] as const) {
  test(`${ms} ms is ${text}`, (t) => t.is(span(ms), text));
}

test('a time ahead, as of a clock that differs, is now', (t) => {
  t.is(age(timestampFromMs(now + 5_000), now), 'now');
  t.is(age(timestampFromMs(now - 5_000), now), '5 s ago');
  t.is(age(undefined, now), '');
});
