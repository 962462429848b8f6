import { LineageDirection } from '../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { lineageDot, lineageTrees } from '../../src/cli/text/lineage-text.js';
import { makeProject } from '../support/project.js';
import { refused } from '../support/refused.js';
import { complete, request, uuidOf } from '../support/runs.js';
import { test } from '../support/serial.js';
import { serverOfFile } from '../support/server-of-file.js';

const project = makeProject();
const server = serverOfFile({ repositories: { project: project.repository.path } });
const ada = server.as('ada');
const worker = server.as('worker');

test.after.always(() => {
  project.repository.dispose();
});

test('lineage tells what gave what a job took, and what took what it gave', async (t) => {
  const source = uuidOf(await request(ada, { scriptParameters: { n: 1 } }));
  const address = `sha256:${'a'.repeat(64)}`;
  await complete(worker, source, address);
  const middle = uuidOf(await request(ada, { scriptParameters: { reads: `${address}/reads.fastq` } }));
  await complete(worker, middle, 'text of an output');
  const last = uuidOf(await request(ada, { scriptParameters: { list: ['x', 'text of an output'] } }));
  const other = uuidOf(await request(ada, { scriptParameters: { again: address } }));

  const whole = await ada.jobs.getLineage({ uuid: middle });
  const distances = (jobs: typeof whole.jobs) => new Map(jobs.map(({ uuid, distance }) => [uuid, distance]));
  // Of a job upstream it is not told what else came of it.
  t.deepEqual(
    distances(whole.jobs),
    new Map([
      [middle, 0],
      [source, -1],
      [last, 1],
    ]),
  );
  t.deepEqual(
    whole.links.map(({ giverUuid, takerUuid, output }) => [giverUuid, takerUuid, output]),
    [
      [source, middle, address],
      [middle, last, 'text of an output'],
    ],
  );
  t.like(whole.jobs[0], { uuid: middle, repository: 'project', script: 'run.sh', output: 'text of an output' });
  t.is(
    lineageTrees(whole, LineageDirection.UNSPECIFIED),
    [
      `${middle} run.sh of project, Complete`,
      'took what these gave:',
      `└─ ${source} run.sh of project, Complete`,
      'gave what these took:',
      `└─ ${last} run.sh of project, Queued`,
    ].join('\n'),
  );
  t.deepEqual(
    lineageDot(whole)
      .split('\n')
      .filter((line) => line.includes('->')),
    [
      `  "${source}" -> "${middle}" [label="${address.slice(0, 19)}"];`,
      `  "${middle}" -> "${last}" [label="text of an output"];`,
    ],
  );
  const down = await ada.jobs.getLineage({ uuid: source, direction: LineageDirection.DOWN, maxDepth: 1 });
  t.deepEqual(
    down.jobs.map(({ uuid, distance, unexplored }) => [uuid, distance, unexplored]),
    [
      [source, 0, false],
      [middle, 1, true],
      [other, 1, true],
    ],
  );
  await ada.jobs.cancelJob({ uuid: last });
  const { consistencyToken } = await ada.jobs.deleteJob({ uuid: last });
  const without = await ada.jobs.getLineage({ uuid: middle, consistencyToken });
  t.deepEqual(
    without.jobs.map(({ uuid }) => uuid),
    [middle, source],
  );
});

test('what is wrong with a request for lineage is named', async (t) => {
  const uuid = uuidOf(await request(ada, { scriptParameters: { n: 2 } }));
  const badly = (asked: object, reason: string, field: string, naming: string) =>
    refused(t, server, () => ada.jobs.getLineage({ uuid, ...asked }), {
      code: 'INVALID_ARGUMENT',
      reason,
      field,
      naming,
    });
  await badly({ uuid: 'x' }, 'BAD_UUID', 'uuid', '"x"');
  await badly({ maxDepth: 101 }, 'OUT_OF_RANGE', 'max_depth', '101');
  await badly({ maxJobs: 1_001 }, 'OUT_OF_RANGE', 'max_jobs', '1001');
  await badly({ direction: 7 }, 'UNKNOWN_VALUE', 'direction', '7');
  const none = '00000000-0000-4000-8000-000000000000';
  const refusal = { code: 'NOT_FOUND', reason: 'JOB_NOT_FOUND', naming: none } as const;
  await refused(t, server, () => ada.jobs.getLineage({ uuid: none }), refusal);
});
