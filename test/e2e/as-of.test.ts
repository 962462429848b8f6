import { setTimeout as delay } from 'node:timers/promises';
import { create, toJson } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { AsOfSchema } from '../../gen/memoir/jobs/v1/as_of_pb.js';
import { Outcome, Rule } from '../../gen/memoir/jobs/v1/decision_pb.js';
import { JobSchema, JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { ExplainReuseResponseSchema } from '../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { systemEdge } from '../../src/edge.js';
import { makeProject } from '../support/project.js';
import { refused } from '../support/refused.js';
import { complete, fail, find, request, uuidOf } from '../support/runs.js';
import { test } from '../support/serial.js';
import { type Clients, startTestServer } from '../support/server.js';
import { serverOfFile } from '../support/server-of-file.js';

const project = makeProject();
let jumped = 0;
const now = () => systemEdge.now() + jumped;
const server = serverOfFile({
  repositories: { project: project.repository.path },
  edge: { ...systemEdge, now },
});
const ada = server.as('ada');
const bob = server.as('bob');

test.after.always(() => {
  project.repository.dispose();
});

const at = (position: number | bigint) => create(AsOfSchema, { moment: { case: 'position', value: BigInt(position) } });
const before = (ms: number) => create(AsOfSchema, { moment: { case: 'time', value: timestampFromMs(ms) } });

const base = { repository: 'project', script: 'run.sh', scriptVersion: project.second };
const filter = (attribute: string, operator: string, stringValue: string) => ({
  attribute,
  operator,
  operand: { kind: { case: 'stringValue' as const, value: stringValue } },
});
const hash = `sha256:${'a'.repeat(64)}`;
const image = { locator: `tools/align@${hash}`, hash, repository: 'tools/align', tag: 'latest' };

/** Requests whose explanations depend on everything that a decision looks at. */
const asked: Parameters<Clients['jobs']['explainReuse']>[0]['request'][] = [
  { ...base, scriptParameters: { n: 1 } },
  { ...base, scriptVersion: project.first, scriptParameters: { n: 1 } },
  { ...base, scriptParameters: { n: 1 }, minimumScriptVersion: project.first },
  { ...base, scriptParameters: { n: 1 }, minimumScriptVersion: project.first, excludeScriptVersions: [project.first] },
  { ...base, scriptParameters: { n: 1 }, maxHeartbeatAge: { seconds: 3_600n } },
  { ...base, scriptParameters: { input: 'sha256:one' } },
  {
    ...base,
    scriptParameters: { n: 1 },
    filters: [filter('repository', '=', 'project'), filter('script', 'like', '%.sh'), filter('state', '=', 'Complete')],
  },
  {
    ...base,
    scriptParameters: { n: 1 },
    filters: [
      filter('repository', '=', 'project'),
      filter('script', '=', 'run.sh'),
      filter('script_version', 'in git', project.first),
    ],
  },
  {
    ...base,
    scriptParameters: { n: 2 },
    filters: [
      filter('repository', '=', 'project'),
      filter('script', '=', 'run.sh'),
      filter('docker_image_locator', 'in docker', 'tools/align:latest'),
    ],
  },
];

test('as of every moment, the answers are those that the server gave then', async (t) => {
  const uuids: string[] = [];
  const moments: { readonly position: number; readonly known: readonly string[]; readonly answers: unknown }[] = [];

  /** Everything that is asked, now or as of a position. */
  async function ask(known: readonly string[], position?: number): Promise<unknown> {
    const asOf = position === undefined ? {} : { asOf: at(position) };
    const jobs = await Promise.all(
      known.map((uuid) =>
        ada.jobs.getJob({ uuid, ...asOf }).then(
          ({ job }) => job && toJson(JobSchema, job),
          (error: Error) => error.message,
        ),
      ),
    );
    const list = async (more: Parameters<typeof ada.jobs.listJobs>[0]) => {
      const answer = await ada.jobs.listJobs({ countTotal: true, ...more, ...asOf });
      return [answer.totalSize, answer.jobs.map((job) => toJson(JobSchema, job))];
    };
    const lists = await Promise.all([
      list({}),
      list({ filters: [filter('state', '=', 'Running')] }),
      list({ filters: [filter('docker_image_locator', 'in docker', 'tools/align')] }),
      list({ orderBy: 'priority desc, finished_at', select: { paths: ['state', 'priority'] } }),
    ]);
    const explanations = await Promise.all(
      asked.map(async (one) => {
        const answer = await ada.jobs.explainReuse({ request: one, ...asOf });
        // What is nearest is told of now alone.
        return toJson(ExplainReuseResponseSchema, { ...answer, nearMisses: [] });
      }),
    );
    return { jobs, lists, explanations };
  }
  async function moment(): Promise<void> {
    const position = await server.end();
    await ada.jobs.listJobs({ consistencyToken: String(position) });
    const known = [...uuids];
    moments.push({ position, known, answers: await ask(known) });
  }
  async function submit(more: Parameters<typeof request>[1]): Promise<string> {
    const uuid = uuidOf(await request(ada, { scriptVersion: project.second, ...more }));
    uuids.push(uuid);
    return uuid;
  }

  await moment();
  const old = await submit({ scriptVersion: project.first, scriptParameters: { n: 1 }, priority: 3 });
  await moment();
  await bob.worker.claimJob({ uuid: old });
  await moment();
  await bob.worker.heartbeat({ uuid: old, progress: 0.5, progressMessage: 'half', tasksSummary: { done: 1 } });
  await moment();
  await bob.worker.completeJob({ uuid: old, output: 'sha256:one', log: 'sha256:log' });
  await moment();
  const young = await submit({ scriptParameters: { n: 1 }, description: 'first' });
  await ada.jobs.updateJob({
    job: { uuid: young, description: 'second', priority: 9 },
    updateMask: { paths: ['description', 'priority'] },
  });
  await moment();
  await bob.worker.claimJob({ uuid: young });
  await moment();
  await bob.worker.completeJob({ uuid: young, output: 'sha256:two', log: 'sha256:log' });
  await moment();
  const { exclusion } = await ada.exclusions.excludeFromReuse({
    target: { case: 'jobUuid', value: old },
    reason: 'the disk was full',
    cascade: true,
  });
  await moment();
  const downstream = await submit({ scriptParameters: { input: 'sha256:one' } });
  await complete(bob, downstream, 'sha256:three');
  await moment();
  await ada.exclusions.reinstateForReuse({ id: exclusion?.id ?? '', reason: 'it was not' });
  await moment();
  await ada.images.registerImage(image);
  const inImage = await submit({
    scriptParameters: { n: 2 },
    runtimeConstraints: { dockerImage: 'tools/align:latest' },
  });
  await complete(bob, inImage, 'sha256:four');
  await moment();
  await ada.images.forgetImage({ locator: image.locator, reason: 'a hole' });
  await moment();
  const failed = await submit({ scriptParameters: { n: 1 } });
  await fail(bob, failed);
  await moment();
  await ada.jobs.deleteJob({ uuid: young });
  await moment();
  t.is(moments.length, 15);

  for (const { position, known, answers } of moments.reverse()) {
    t.deepEqual(await ask(known, position), answers, `as of ${position}`);
  }
});

test('the age of a heartbeat is that at the moment asked for', async (t) => {
  const [ada, bob] = [server.as('ada'), server.as('bob')];
  const scriptParameters = { test: 'heartbeat' };
  const running = uuidOf(await find(ada, { scriptVersion: project.second, scriptParameters }));
  await bob.worker.claimJob({ uuid: running });
  const claimed = await server.end();
  jumped += 60_000;
  await request(ada, { scriptParameters: { test: 'later' } });
  const later = await server.end();
  const fresh = { ...base, scriptParameters, maxHeartbeatAge: { seconds: 30n } };
  const decided = async (position: number) => {
    const { decision } = await ada.jobs.explainReuse({ request: fresh, asOf: at(position) });
    return [Outcome[decision?.outcome ?? -1], Rule[decision?.candidates[0]?.ruledOutBy ?? -1]];
  };
  t.deepEqual(await decided(claimed), ['REUSED_RUNNING', 'UNSPECIFIED']);
  t.deepEqual(await decided(later), ['CREATED_NO_MATCH', 'HEARTBEAT']);
});

test('a job that was deleted is there as of before, by the permissions of now', async (t) => {
  const [ada, bob] = [server.as('ada'), server.as('bob')];
  const made = await find(ada, { scriptParameters: { test: 'deleted' } });
  await complete(bob, uuidOf(made));
  const position = await server.end();
  const { consistencyToken } = await ada.jobs.deleteJob({ uuid: uuidOf(made) });
  await t.throwsAsync(ada.jobs.getJob({ uuid: uuidOf(made), consistencyToken }), { message: /no job/ });
  const { job } = await ada.jobs.getJob({ uuid: uuidOf(made), asOf: at(position) });
  t.is(job?.state, JobState.COMPLETE);
  await t.throwsAsync(ada.jobs.getJob({ uuid: uuidOf(made), asOf: at(0) }), { message: /no job/ });
});

test('a time means all that was recorded before it, and all pages of a list are of the moment of the first', async (t) => {
  const ada = server.as('ada');
  const filters = [filter('script_parameters.test', '=', 'pages')];
  for (let n = 0; n < 5; n++) await request(ada, { scriptParameters: { test: 'pages', n } });
  await delay(5);
  const time = before(now());
  await delay(5);
  const first = await ada.jobs.listJobs({
    filters,
    pageSize: 2,
    asOf: time,
    consistencyToken: String(await server.end()),
  });
  t.is(first.jobs.length, 2);
  const { consistencyToken } = await request(ada, { scriptParameters: { test: 'pages', n: 5 } });
  await ada.jobs.listJobs({ consistencyToken });
  const second = await ada.jobs.listJobs({ filters, pageSize: 9, asOf: time, pageToken: first.nextPageToken });
  t.deepEqual(
    [...first.jobs, ...second.jobs].map((job) => job.scriptParameters?.n),
    [4, 3, 2, 1, 0],
  );
  const other = { code: 'INVALID_ARGUMENT', reason: 'TOKEN_OF_ANOTHER_LIST', field: 'page_token' } as const;
  const pageToken = first.nextPageToken;
  await refused(t, server, () => ada.jobs.listJobs({ filters, pageSize: 2, pageToken }), other);
  await refused(t, server, () => ada.jobs.listJobs({ filters, pageSize: 2, pageToken, asOf: at(3) }), other);
});

test('moments that are none are refused, naming them', async (t) => {
  const ada = server.as('ada');
  const uuid = uuidOf(await request(ada, { scriptParameters: { test: 'refused' } }));
  const beyond = { code: 'INVALID_ARGUMENT', reason: 'OUT_OF_RANGE', field: 'as_of.position' } as const;
  const explained = { ...base, scriptParameters: { n: 1 } };
  for (const position of [(await server.end()) + 1, 2n ** 64n - 1n]) {
    const asOf = at(position);
    await refused(t, server, () => ada.jobs.getJob({ uuid, asOf }), { ...beyond, naming: String(position) });
    await refused(t, server, () => ada.jobs.listJobs({ asOf }), { ...beyond, naming: String(position) });
    await refused(t, server, () => ada.jobs.explainReuse({ request: explained, asOf }), beyond);
  }
  const future = { code: 'INVALID_ARGUMENT', reason: 'OUT_OF_RANGE', field: 'as_of.time' } as const;
  await refused(t, server, () => ada.jobs.getJob({ uuid, asOf: before(4_102_444_800_000) }), {
    ...future,
    naming: '2100-01-01T00:00:00.000Z',
  });
  const endless = create(AsOfSchema, { moment: { case: 'time', value: { seconds: 2n ** 62n } } });
  await refused(t, server, () => ada.jobs.listJobs({ asOf: endless }), future);
  const none = { code: 'INVALID_ARGUMENT', reason: 'REQUIRED', field: 'as_of' } as const;
  await refused(t, server, () => ada.jobs.getJob({ uuid, asOf: {} }), none);
  await refused(t, server, () => ada.jobs.explainReuse({ request: explained, asOf: {} }), none);
  const long = create(AsOfSchema, { moment: { case: 'time', value: { seconds: -(2n ** 62n) } } });
  await refused(t, server, () => ada.jobs.listJobs({ asOf: long }), future);
  t.is((await ada.jobs.listJobs({ asOf: before(-62_135_596_800_000) })).jobs.length, 0);
});

test('explaining the past records nothing', async (t) => {
  const ada = server.as('ada');
  const end = await server.end();
  await ada.jobs.explainReuse({ request: { ...base, scriptParameters: { n: 1 } }, asOf: at(end) });
  t.is(await server.end(), end);
});

test('a clock that was ten years ahead for one event hides nothing of what came after it', async (t) => {
  let ahead = 0;
  const edge = { ...systemEdge, now: () => Date.now() + ahead };
  const jumpy = await startTestServer({ repositories: { project: project.repository.path }, edge });
  t.teardown(() => jumpy.dispose());
  const eve = jumpy.as('eve');
  let consistencyToken = '';
  let uuid = '';
  for (let n = 0; n < 12; n++) {
    ahead = n === 0 || n === 4 || n === 11 ? 10 * 365 * 86_400_000 : 0;
    const made = await request(eve, { scriptParameters: { n } });
    consistencyToken = made.consistencyToken;
    if (n === 6) uuid = uuidOf(made);
    ahead = 0;
  }
  await delay(2);
  const list = async (asOf: ReturnType<typeof before>) =>
    (await eve.jobs.listJobs({ asOf, consistencyToken })).jobs.length;
  t.is(await list(before(Date.now())), 12);
  t.is((await eve.jobs.getJob({ uuid, asOf: before(Date.now()) })).job?.uuid, uuid);
  t.is(await list(before(Date.now() - 3_600_000)), 0);
});
