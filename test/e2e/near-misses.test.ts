import type { NearRow } from '../../projections/read-model/near-misses/near-jobs.js';
import { nearMissLine } from '../../src/cli/text/near-miss-text.js';
import { type Access, unrestricted } from '../../src/domain/access.js';
import { nearMisses } from '../../src/jobs/reading/near-misses.js';
import { makeProject } from '../support/project.js';
import { find, request, uuidOf } from '../support/runs.js';
import { test } from '../support/serial.js';
import { serverOfFile } from '../support/server-of-file.js';

const project = makeProject();
const path = project.repository.path;
const server = serverOfFile({ repositories: { project: path, elsewhere: path } });
const ada = server.as('ada');
const bob = server.as('bob');

test.after.always(() => {
  project.repository.dispose();
});

const asked = (scriptParameters: object, more: object = {}) =>
  find(ada, { scriptParameters: { ...scriptParameters }, explainMisses: true, ...more });

test('a new job is told with the past ones that are nearest, by the number of differences, then the newest', async (t) => {
  const first = uuidOf(await request(ada, { scriptParameters: { n: 3, mode: 'fast', deep: { list: [1, 2] } } }));
  const second = uuidOf(await request(bob, { scriptParameters: { n: 3, mode: 'slow', deep: { list: [1, 2] } } }));
  const { consistencyToken } = await request(ada, { scriptParameters: { other: true } });
  await ada.jobs.getQueueSize({ consistencyToken });
  const { reused, nearMisses } = await asked({ n: 4, mode: 'fast', deep: { list: [1, 2] } });
  t.false(reused);
  t.deepEqual(nearMisses.map(({ uuid, differenceCount }) => [uuid, differenceCount]).slice(0, 2), [
    [first, 1],
    [second, 2],
  ]);
  const [nearest] = nearMisses;
  t.like(nearest?.differences[0], { field: 'script_parameters', pointer: '/n', past: '3', asked: '4' });
  t.is(nearest && nearMissLine(nearest), `${first} (Queued), which differs in n: 3 → 4`);
  // Found although a hundred newer ones of the script are not as near.
  for (let i = 0; i < 101; i++) await request(bob, { scriptParameters: { i } });
  const { consistencyToken: late } = await request(ada, { scriptParameters: { late: true } });
  await ada.jobs.getQueueSize({ consistencyToken: late });
  const gone = await asked({ n: 3, mode: 'fast' }, { findOrCreate: false });
  t.is(gone.nearMisses[0]?.differenceCount, 3, 'what differs in two is looked for among the newest alone');
  const less = await asked({ mode: 'fast', deep: { list: [1, 2] } });
  t.is(less.nearMisses[0]?.uuid, uuidOf(await asked({ n: 4, mode: 'fast', deep: { list: [1, 2] } })));
  t.like(less.nearMisses[0]?.differences[0], { pointer: '/n', past: '4', asked: undefined });
});

test('the same work by another commit is near too, and explain tells it without recording', async (t) => {
  const made = uuidOf(await request(ada, { scriptParameters: { commit: 1 } }));
  const before = project.repository.git('rev-parse', 'HEAD').trim();
  const commit = project.repository.commit({ 'note.txt': 'later' });
  const end = await server.end();
  await ada.jobs.getQueueSize({ consistencyToken: String(end) });
  const request_ = { repository: 'project', script: 'run.sh', scriptVersion: commit, scriptParameters: { commit: 1 } };
  const { nearMisses, decision } = await ada.jobs.explainReuse({ request: request_ });
  t.is(decision?.candidates[0]?.uuid, made);
  const miss = nearMisses.find(({ uuid }) => uuid === made);
  t.deepEqual(
    miss?.differences.map(({ field, past, asked: now }) => [field, past, now]),
    [['script_version', before, commit]],
  );
  t.like(miss, { commitsAhead: 1, commitsBehind: 0 });
  t.regex(miss ? nearMissLine(miss) : '', /script_version: \w+…? → .* \(1 commit later\)$/);
  const { nearMisses: back } = await ada.jobs.explainReuse({
    request: { ...request_, scriptVersion: 'old', scriptParameters: { commit: 1 } },
  });
  t.like(
    back.find(({ uuid }) => uuid === made),
    { commitsAhead: 0, commitsBehind: 1 },
  );
  t.is(await server.end(), end);
});

test('nothing is near where a past job is the answer, or nobody asks, or in another repository', async (t) => {
  await request(ada, { scriptParameters: { open: 1 } });
  const { consistencyToken } = await request(ada, { scriptParameters: { late: 2 } });
  await ada.jobs.getQueueSize({ consistencyToken });
  t.deepEqual((await asked({ open: 2 }, { repository: 'elsewhere' })).nearMisses, []);
  const { reused, nearMisses } = await asked({ open: 1 });
  t.true(reused);
  t.deepEqual(nearMisses, []);
  t.deepEqual((await find(ada, { scriptParameters: { open: 3 } })).nearMisses, [], 'not asked for');
});

/** Repositories that cannot be read now: how far commits are apart is not told then. */
const nowhere = { range: () => Promise.reject(new Error('it is away')) };

test('nobody is told of jobs that may not be read', async (t) => {
  const row = (position: number, owner: string): NearRow => ({
    position,
    uuid: `job-${position}`,
    owner,
    repository: 'project',
    script: 'run.sh',
    state: 1,
    scriptVersion: 'c',
    codeDigest: '',
    dockerImageLocator: '',
    arvadosSdkVersion: '',
    computationDigest: `d${position}`,
    createdAt: 0,
    parameters: `{"n":${position}}`,
  });
  const nearJobs = { newest: () => [2, 1], job: (position: number) => row(position, position === 1 ? 'ada' : 'bob') };
  const access: Access = { ...unrestricted('ada'), reads: ({ owner }) => owner === 'ada' };
  const request = { repository: 'project', script: 'run.sh', scriptParameters: { n: 9 } };
  const asked = { ...request, scriptVersion: 'c', codeDigest: '', dockerImageLocator: '', arvadosSdkVersion: '' };
  const told = async (who: Access) =>
    (await nearMisses({ nearJobs }, nowhere, who, asked)).map((miss) => miss.row.uuid);
  t.deepEqual(await told(access), ['job-1']);
  t.deepEqual(await told(unrestricted('ada')), ['job-2', 'job-1']);
  const long = { ...asked, scriptParameters: { text: 'x'.repeat(65_536) } };
  t.deepEqual(await nearMisses({ nearJobs }, nowhere, unrestricted('ada'), long), []);
});

test('how an answer is told is no part of what a submit_id stands for', async (t) => {
  const scriptParameters = { of: 'submit id' };
  const first = await find(ada, { submitId: 'near', scriptParameters, explainMisses: true });
  const again = await find(ada, { submitId: 'near', scriptParameters });
  t.is(uuidOf(again), uuidOf(first));
});
