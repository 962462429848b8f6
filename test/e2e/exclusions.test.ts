import test from 'ava';
import { Outcome, Rule } from '../../gen/memoir/jobs/v1/decision_pb.js';
import type { CreateJobResponse } from '../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { makeProject } from '../support/project.js';
import { complete, find, request, uuidOf } from '../support/runs.js';
import { startTestServer } from '../support/server.js';

const project = makeProject();
const server = await startTestServer({ repositories: { project: project.repository.path } });
const ada = server.as('ada');
const bob = server.as('bob');

test.after.always(async () => {
  await server.dispose();
  project.repository.dispose();
});

/** What a decision says of its first candidate. */
function firstCandidate({ decision }: Pick<CreateJobResponse, 'decision'>) {
  const candidate = decision?.candidates[0];
  return {
    outcome: Outcome[decision?.outcome ?? -1],
    rule: Rule[candidate?.ruledOutBy ?? -1],
    detail: candidate?.detail ?? '',
  };
}

test('an excluded job is not reused from the next call on, and is again when it is reinstated', async (t) => {
  const made = await find(ada, { scriptParameters: { test: 'job' } });
  await complete(bob, uuidOf(made), 'sha256:job');
  t.is(uuidOf(await find(ada, { scriptParameters: { test: 'job' } })), uuidOf(made));
  const excluded = await ada.exclusions.excludeFromReuse({
    target: { case: 'jobUuid', value: uuidOf(made).toUpperCase() },
    reason: 'the disk was full',
  });
  t.deepEqual(
    excluded.hits.map(({ uuid, throughUuid }) => [uuid, throughUuid]),
    [[uuidOf(made), '']],
  );
  t.is(excluded.hitCount, 1);
  const id = excluded.exclusion?.id ?? '';
  const explained = await ada.jobs.explainReuse({
    request: { repository: 'project', script: 'run.sh', scriptVersion: 'main', scriptParameters: { test: 'job' } },
  });
  t.deepEqual(
    explained.decision?.funnel.map(({ rule, ruledOut, left }) => [Rule[rule], ruledOut, left]),
    [['EXCLUDED', 1, 0]],
  );
  const next = await find(ada, { scriptParameters: { test: 'job' } });
  t.false(next.reused);
  t.deepEqual(firstCandidate(next), {
    outcome: 'CREATED_NO_MATCH',
    rule: 'EXCLUDED',
    detail: `it is under exclusion ${id} of job ${uuidOf(made)}: "the disk was full"`,
  });
  await ada.jobs.cancelJob({ uuid: uuidOf(next) });
  await ada.exclusions.reinstateForReuse({ id, reason: 'it was not' });
  t.is(uuidOf(await find(ada, { scriptParameters: { test: 'job' } })), uuidOf(made));
});

test('with cascade, what took the output of an excluded job is excluded, however deep, and so is what follows', async (t) => {
  const a = await request(ada, { scriptParameters: { test: 'cascade' } });
  await complete(bob, uuidOf(a), 'sha256:a');
  const b = await find(ada, { scriptParameters: { deep: [{ er: 'sha256:a' }] } });
  await complete(bob, uuidOf(b), 'sha256:b');
  const c = await find(ada, { scriptParameters: { x: 'sha256:b' } });
  const order = {
    target: { case: 'commit', value: { repository: 'project', commit: 'main' } },
    reason: 'wrong',
    cascade: true,
  } as const;
  const preview = await ada.exclusions.excludeFromReuse({
    ...order,
    target: { case: 'jobUuid', value: uuidOf(a) },
    dryRun: true,
  });
  t.is(preview.consistencyToken, '');
  t.is(preview.exclusion?.id, '');
  t.deepEqual(
    preview.hits.map(({ uuid, throughUuid }) => [uuid, throughUuid]),
    [
      [uuidOf(a), ''],
      [uuidOf(b), uuidOf(a)],
      [uuidOf(c), uuidOf(b)],
    ],
  );
  t.true((await find(ada, { scriptParameters: { x: 'sha256:b' } })).reused);
  const done = await ada.exclusions.excludeFromReuse({ ...order, target: { case: 'jobUuid', value: uuidOf(a) } });
  const again = await find(ada, { scriptParameters: { x: 'sha256:b' } });
  t.is(
    firstCandidate(again).detail,
    `it took the output "sha256:b" of job ${uuidOf(b)}, which is under exclusion ${done.exclusion?.id} of job ${uuidOf(a)}: "wrong"`,
  );
});
