import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { pino } from 'pino';
import { openReadModel } from '../../projections/read-model/read-model.js';
import { MemoirError } from '../../src/domain/errors.js';
import { systemEdge } from '../../src/edge.js';
import { sqliteUrl } from '../../src/eventstore/open-store.js';
import { findKept, keptPath } from '../../src/git/kept/kept-repository.js';
import { keptDirectory, openRepositories } from '../../src/git/repositories.js';
import type { JobToKeep } from '../../src/jobs/context.js';
import { keepCommits } from '../../src/jobs/running/keep-commits.js';
import { makeProject } from '../support/project.js';
import { complete, request, uuidOf } from '../support/runs.js';
import { test } from '../support/serial.js';
import { startTestServer } from '../support/server.js';
import { until } from '../support/until.js';

const pace = { slots: 2, remembered: 2, firstPause: 20, longestPause: 50 };

/** Jobs that a server recorded which kept nothing: five queued, one running, one finished. */
async function setUp(t: ExecutionContext) {
  const { repository, first, second } = makeProject();
  t.teardown(repository.dispose);
  const server = await startTestServer({ repositories: { project: repository.path } });
  t.teardown(() => server.dispose());
  const ada = server.as('ada');
  const jobs: JobToKeep[] = [];
  for (let n = 0; n < 7; n++) {
    const commit = n % 2 === 0 ? first : second;
    const uuid = uuidOf(await request(ada, { scriptVersion: commit, scriptParameters: { n } }));
    jobs.push({ uuid, repository: 'project', commit });
  }
  const [finished, running, ...queued] = jobs as [JobToKeep, JobToKeep, ...JobToKeep[]];
  await complete(ada, finished.uuid);
  await ada.worker.claimJob({ uuid: running.uuid });
  await server.stop();

  const directory = join(server.config.data_dir, 'git');
  const readModel = await openReadModel(
    sqliteUrl(join(server.config.data_dir, 'events.sqlite')),
    join(server.config.data_dir, 'read-model.sqlite'),
  );
  t.teardown(() => readModel.close());
  const repositories = await openRepositories({ project: { path: repository.path } }, { directory });
  t.teardown(() => repositories.close());
  const seen = { failures: 0, most: 0, now: 0, attempts: [] as string[] };
  const keep: typeof repositories.keep = async (name, commit, uuid, signal) => {
    seen.attempts.push(uuid);
    seen.most = Math.max(seen.most, ++seen.now);
    try {
      if (seen.failures-- > 0) throw new MemoirError('UNAVAILABLE', 'MIRROR_UNAVAILABLE', 'away');
      return await repositories.keep(name, commit, uuid, signal);
    } finally {
      seen.now--;
    }
  };
  const start = (own = pace) => {
    const context = { readModel, repositories: { ...repositories, keep }, edge: systemEdge };
    const keeping = keepCommits(context, pino({ level: 'silent' }), own);
    t.teardown(() => keeping.stop());
    return keeping;
  };
  const isKept = ({ uuid, commit }: JobToKeep) => {
    const root = keptDirectory(directory);
    return findKept(root, 'project', uuid, commit) !== undefined;
  };
  const refs = join(keptPath(keptDirectory(directory), 'project', repository.path), 'refs/memoir/jobs');
  return { start, seen, isKept, finished, open: [running, ...queued], forget: () => rmSync(refs, { recursive: true }) };
}

test('a start keeps what queued and running jobs use, whatever fails at first, and a few at a time', async (t) => {
  const { start, seen, isKept, finished, open } = await setUp(t);
  seen.failures = 2;
  start();
  await until('all are kept', () => open.every(isKept));
  t.false(isKept(finished));
  t.true(seen.most <= pace.slots);
  t.is(seen.attempts.length, open.length + 2);
});

test('more jobs than are remembered are kept all the same', async (t) => {
  const { start, isKept, open, forget } = await setUp(t);
  const keeping = start();
  await until('all are kept', () => open.every(isKept));
  forget();
  for (const job of open) keeping.requested(job);
  await until('all are kept again', () => open.every(isKept));
  t.true(open.length > pace.remembered + pace.slots, 'they were more');
});

test('a job that is finished is tried once, and what cannot succeed not again', async (t) => {
  const { start, seen, isKept, finished, open } = await setUp(t);
  const keeping = start();
  await until('all are kept', () => open.every(isKept));
  keeping.requested({ ...(open[0] as JobToKeep), repository: 'elsewhere' });
  keeping.requested(finished);
  await until('the finished one is kept', () => isKept(finished));
  t.is(seen.attempts.filter((uuid) => uuid === open[0]?.uuid).length, 2, 'no repository of that name');
});

test('a failure of a finished job is the last, and the end waits for nothing that is to be tried again', async (t) => {
  const { start, seen, isKept, finished, open } = await setUp(t);
  const keeping = start({ ...pace, slots: 1 });
  await until('all are kept', () => open.every(isKept));
  const before = seen.attempts.length;
  seen.failures = 2;
  keeping.requested(finished);
  keeping.requested(open[0] as JobToKeep);
  await until('the other one, which failed after it, was tried again', () => seen.attempts.length >= before + 3);
  t.deepEqual(seen.attempts.slice(before), [finished.uuid, open[0]?.uuid, open[0]?.uuid]);
  t.false(isKept(finished));
  seen.failures = Number.POSITIVE_INFINITY;
  keeping.requested(open[1] as JobToKeep);
  await keeping.stop();
  const tried = seen.attempts.length;
  keeping.requested(open[2] as JobToKeep);
  t.is(seen.attempts.length, tried);
});
