import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import test from 'ava';
import stringWidth from 'string-width';
import { RecordedEventSchema } from '../../gen/memoir/history/v1/history_service_pb.js';
import { Outcome, Rule } from '../../gen/memoir/jobs/v1/decision_pb.js';
import { JobSchema, JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { storyLines } from '../../src/cli/audit/history.js';
import { jobSheet, jobTable, selectedTable } from '../../src/cli/text/job-view.js';
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

test('a table fits a terminal: columns go, then cells are cut, and what is left is whole', (t) => {
  const long = create(JobSchema, {
    ...job,
    owner: 'ada',
    script: 'a/very/long/path/of/a/script.sh',
    repository: '日本'.repeat(8),
  });
  for (const width of [60, 80, 100, 132, 157]) {
    const lines = jobTable([long, job], now, width).split('\n');
    for (const line of lines) t.true(stringWidth(line) <= width, `${width}: ${line}`);
    t.true(lines[1]?.startsWith(`${job.uuid}  Running`));
  }
  const queued = create(JobSchema, { ...long, state: JobState.QUEUED });
  t.regex(jobTable([queued], now, 80), /^UUID +STATE +CREATED +SCRIPT/);
  t.regex(jobTable([long], now, 20), /^UUID +STATE\n/, 'what identifies a job stays');
  t.regex(jobTable([long], now), /REPOSITORY +SCRIPT +VERSION/);
});

test('a table of selected fields has these and no others', (t) => {
  const selected = create(JobSchema, {
    uuid: job.uuid,
    runtimeConstraints: { dockerImage: 'img', minNodes: 3 },
    scriptParameters: { a: 1 },
    createdAt: timestampFromMs(now),
    description: hostile,
  });
  const paths = ['created_at', 'runtime_constraints.min_nodes', 'script_parameters', 'description', 'output'];
  const [head = '', row = ''] = selectedTable([selected], paths).split('\n');
  t.is(
    head.replaceAll(/ +/g, ' '),
    'UUID CREATED_AT RUNTIME_CONSTRAINTS.MIN_NODES SCRIPT_PARAMETERS DESCRIPTION OUTPUT',
  );
  t.is(row.replaceAll(/ +/g, ' '), `${job.uuid} 2023-11-14T22:13:20Z 3 {"a":1} \\e[2Jx\\nforged line`);
});
