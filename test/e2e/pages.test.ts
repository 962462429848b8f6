import { toBinary } from '@bufbuild/protobuf';
import test, { type ExecutionContext } from 'ava';
import type { Job } from '../../gen/memoir/jobs/v1/job_pb.js';
import { GetQueueResponseSchema, ListJobsResponseSchema } from '../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { systemEdge } from '../../src/edge.js';
import { makeProject } from '../support/project.js';
import { complete, request, uuidOf } from '../support/runs.js';
import { type Clients, startTestServer } from '../support/server.js';

const project = makeProject();

/** A directory whose name no file system takes, of scripts `0` to `999`, and a commit that has it. */
const longName = '字'.repeat(1_360);
const withLongNames = (() => {
  const { git, gitWithInput } = project.repository;
  const script = git('rev-parse', 'HEAD:run.sh');
  const scripts = Array.from({ length: 1_000 }, (_, i) => `100755 blob ${script}\t${i}\n`).join('');
  const root = gitWithInput(`040000 tree ${gitWithInput(scripts, 'mktree')}\t${longName}\n`, 'mktree');
  return git('commit-tree', root, '-p', 'HEAD', '-m', 'long names');
})();

test.after.always(() => project.repository.dispose());

async function start(t: ExecutionContext, edge = systemEdge) {
  const server = await startTestServer({ repositories: { project: project.repository.path }, edge });
  t.teardown(() => server.dispose());
  return server;
}

type Page = { readonly jobs: Job[]; readonly nextPageToken: string };

/** The uuids of all pages, with what happens between them. */
async function walk(next: (pageToken: string) => Promise<Page>, between: () => Promise<unknown> = async () => {}) {
  const pages: string[][] = [];
  for (let token = ''; ; ) {
    const { jobs, nextPageToken } = await next(token);
    pages.push(jobs.map(({ uuid }) => uuid));
    if (nextPageToken === '') return pages;
    token = nextPageToken;
    await between();
  }
}

async function many(clients: Clients, count: number, priority = (_: number) => 0) {
  const made: { uuid: string; priority: number }[] = [];
  let consistencyToken = '';
  for (let i = 0; i < count; i++) {
    const answer = await request(clients, { priority: priority(i) });
    made.push({ uuid: uuidOf(answer), priority: priority(i) });
    ({ consistencyToken } = answer);
  }
  return { made, consistencyToken };
}

test('ListJobs gives every job once, newest first, while jobs arrive, even in the same millisecond', async (t) => {
  let now = 1_700_000_000_000;
  const server = await start(t, { ...systemEdge, now: () => now });
  const ada = server.as('ada');
  const { made, consistencyToken } = await many(ada, 57);
  const between = async () => {
    await request(ada);
    now += 1;
    await request(ada);
  };
  const pages = await walk(
    (pageToken) => ada.jobs.listJobs({ pageSize: 10, pageToken, ...(pageToken === '' && { consistencyToken }) }),
    between,
  );
  t.deepEqual(
    pages.map(({ length }) => length),
    [10, 10, 10, 10, 10, 7],
  );
  t.deepEqual(pages.flat(), made.map(({ uuid }) => uuid).reverse());
});

test('GetQueue gives the order in which workers get the jobs, once each, while jobs come and go', async (t) => {
  const server = await start(t);
  const [ada, bob] = [server.as('ada'), server.as('bob')];
  const priorities = [0, 5, -3, 2 ** 31 - 1, -(2 ** 31), 5, 0];
  const { made, consistencyToken } = await many(ada, 35, (i) => priorities[i % 7] as number);
  const ordered = made.toSorted((a, b) => b.priority - a.priority).map(({ uuid }) => uuid);
  t.is((await ada.jobs.getQueueSize({ consistencyToken })).size, 35n);
  const between = async () => {
    // What arrives in front of the cursor and what leaves behind it changes nothing.
    await request(ada, { priority: 2 ** 31 - 1 });
    await bob.worker.claimJob({});
  };
  const pages = await walk((pageToken) => ada.jobs.getQueue({ pageSize: 8, pageToken }), between);
  t.deepEqual(pages.flat(), ordered);
  t.deepEqual(
    pages.map(({ length }) => length),
    [8, 8, 8, 8, 3],
  );
});

test('a new priority moves a job in the queue', async (t) => {
  const server = await start(t);
  const ada = server.as('ada');
  const { made } = await many(ada, 3);
  const [first, second, third] = made.map(({ uuid }) => uuid);
  const update = { job: { uuid: third ?? '', priority: 1 }, updateMask: { paths: ['priority'] } };
  const { consistencyToken } = await ada.jobs.updateJob(update);
  const { jobs } = await ada.jobs.getQueue({ consistencyToken });
  t.deepEqual(
    jobs.map(({ uuid }) => uuid),
    [third, first, second],
  );
});

test('a page without a size has 100 jobs, the largest 1,000, and an exact end has no token', async (t) => {
  const server = await start(t);
  const ada = server.as('ada');
  const answers = await Promise.all(Array.from({ length: 1001 }, (_, i) => request(ada, { scriptParameters: { i } })));
  const end = Math.max(...answers.map(({ consistencyToken }) => Number(consistencyToken)));
  const consistencyToken = String(end);
  t.is((await ada.jobs.listJobs({ consistencyToken })).jobs.length, 100);
  t.is((await ada.jobs.getQueue({ consistencyToken })).jobs.length, 100);
  const whole = await ada.jobs.listJobs({ pageSize: 1000 });
  t.is(whole.jobs.length, 1000);
  const rest = await ada.jobs.listJobs({ pageSize: 1, pageToken: whole.nextPageToken });
  t.is(rest.jobs.length, 1);
  t.is(rest.nextPageToken, '');
});

test('a page stays below the 4 MiB that any client accepts, however large its jobs are', async (t) => {
  const server = await start(t);
  const [ada, bob] = [server.as('ada'), server.as('bob')];
  const times = <T>(count: number, make: (i: number) => Promise<T>) =>
    Promise.all(Array.from({ length: count }, (_, i) => make(i)));
  const description = '字'.repeat(21_000);
  await times(5, (i) => request(ada, { scriptParameters: { i, text: 'x'.repeat(1_500_000) } }));
  await times(3, (i) => request(ada, { scriptParameters: { i, numbers: Array(240_000).fill(1) } }));
  await times(80, (i) => request(ada, { scriptParameters: { description: i }, description }));
  await times(1000, (i) => request(ada, { script: `${longName}/${i}`, scriptVersion: withLongNames }));
  await times(80, async (i) => {
    const uuid = uuidOf(await request(ada, { scriptParameters: { failure: i } }));
    await bob.worker.claimJob({ uuid });
    await bob.worker.failJob({ uuid, reason: 'X', message: description });
  });
  await complete(bob, uuidOf(await request(ada)));
  const limit = 4 * 1024 * 1024;
  const listed = await walk(async (pageToken) => {
    const page = await ada.jobs.listJobs({ pageSize: 1000, pageToken });
    const bytes = toBinary(ListJobsResponseSchema, page).length;
    t.true(
      bytes < limit,
      `ListJobs: ${page.jobs.length} jobs from ${page.jobs[0]?.script.slice(0, 20)} are ${bytes} bytes`,
    );
    return page;
  });
  t.is(new Set(listed.flat()).size, 1169);
  t.is(listed.flat().length, 1169);
  const queued = await walk(async (pageToken) => {
    const page = await ada.jobs.getQueue({ pageSize: 1000, pageToken });
    const bytes = toBinary(GetQueueResponseSchema, page).length;
    t.true(bytes < limit, `GetQueue: ${page.jobs.length} jobs are ${bytes} bytes`);
    return page;
  });
  t.is(new Set(queued.flat()).size, 1088);
});
