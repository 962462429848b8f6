import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2';
import { create, toBinary } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { CreateJobRequestSchema, JobsService } from '../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { limitsConfig } from '../../src/config/limits.js';
import { connect } from '../../src/rpc/client.js';
import { framed, http2Call, statusOn } from '../support/http2-call.js';
import { makeProject } from '../support/project.js';
import { failure } from '../support/refused.js';
import { plenty, request, uuidOf } from '../support/runs.js';
import { test } from '../support/serial.js';
import { serverOfFile } from '../support/server-of-file.js';
import { until } from '../support/until.js';

const project = makeProject();
const server = serverOfFile({
  repositories: { project: project.repository.path },
  settings: {
    limits: limitsConfig.parse({
      calls_per_second: 2,
      calls_burst: 10,
      reports_per_second: 1_000,
      streams: 2,
      lists: 1,
      bytes_per_second: 65_536,
      bytes_burst: 65_536,
    }),
  },
});
test.after.always(() => project.repository.dispose());

/** Takes all calls that a principal has. */
async function exhaust(principal: string) {
  const { jobs } = server.as(principal);
  for (;;) {
    const error = await jobs.getQueueSize({}).then(
      () => undefined,
      (thrown) => thrown,
    );
    if (error) return error;
  }
}

test('who takes too many calls is told when to come again, and nobody else notices', async (t) => {
  const error = await exhaust('greedy');
  t.like(error, {
    code: status.RESOURCE_EXHAUSTED,
    reason: 'TOO_MANY_CALLS',
    metadata: { setting: 'limits.calls_per_second', limit: '2' },
  });
  // From the RetryInfo of the answer.
  t.true(error.retryAfterMs >= 100 && error.retryAfterMs <= 1_100, `${error.retryAfterMs}`);
  await t.notThrowsAsync(server.as('modest').jobs.getQueueSize({}));
  // Whoever waits so long is let in.
  await until('a call is let in', () =>
    server
      .as('greedy')
      .jobs.getQueueSize({})
      .catch(() => undefined),
  );
});

test('a patient client comes again by itself, within its deadline', async (t) => {
  await exhaust('patient');
  const connection = connect(server.address(), 'patient', { patient: true });
  const { getQueueSize, listJobs } = connection.service(JobsService);
  await t.notThrowsAsync(Promise.all([1, 2, 3].map(() => getQueueSize({}, { timeoutMs: 20_000 }))));
  await exhaust('patient');
  await t.notThrowsAsync(listJobs({}));
  await exhaust('patient');
  const error = await failure(t, () => getQueueSize({}, { timeoutMs: 50 }));
  t.is(error.reason, 'TOO_MANY_CALLS');
  connection.close();
});

test('no limit costs a lease: what is reported of attempts, and withdrawn, is taken when nothing else is', async (t) => {
  const one = uuidOf(await request(server.as('ada'), { scriptParameters: { limits: 1 } }));
  const withdrawn = uuidOf(await request(server.as('ada'), { scriptParameters: { limits: 2 } }));
  const { worker } = server.as('runner');
  const { claimToken } = await worker.claimJob({ uuid: one, offer: plenty });
  await exhaust('runner');
  t.is((await exhaust('ada')).reason, 'TOO_MANY_CALLS');
  for (let i = 0; i < 20; i++) await worker.heartbeat({ uuid: one, claimToken, progress: i / 20 });
  await worker.appendJobLog([{ uuid: one, claimToken, text: 'on it\n' }]);
  await worker.completeJob({ uuid: one, claimToken, output: 'sha256:o', log: 'sha256:l' });
  await server.as('ada').jobs.cancelJob({ uuid: withdrawn });
  const other = server.as('reader').jobs;
  await until('both are told', async () => {
    const states = await Promise.all([one, withdrawn].map(async (uuid) => (await other.getJob({ uuid })).job?.state));
    return states[0] === JobState.COMPLETE && states[1] === JobState.CANCELLED;
  });
});

test('streams count while they are open', async (t) => {
  const { history } = server.as('watcher');
  const open = async (signal: AbortSignal) => {
    const stream = history.subscribeEvents({ start: { case: 'beginning', value: {} } }, { signal });
    await stream.next();
    return stream;
  };
  const [first, second] = [new AbortController(), new AbortController()];
  await open(first.signal);
  await open(second.signal);
  const error = await failure(t, () => open(new AbortController().signal));
  t.like(error, { reason: 'TOO_MANY_STREAMS', metadata: { setting: 'limits.streams', limit: '2' } });
  first.abort();
  const third = new AbortController();
  await until('one has gone', () => open(third.signal).catch(() => undefined));
  second.abort();
  third.abort();
});

/** Sends calls of one principal in one piece, and gives the codes of their answers. */
function together(session: ClientHttp2Session, principal: string, path: string, count: number): Promise<string[]> {
  return Promise.all(Array.from({ length: count }, () => statusOn(session, path, { 'memoir-principal': principal })));
}

test('lists count while they are worked on; many calls in one piece are all answered', async (t) => {
  const session = connectHttp2(`http://${server.address()}`);
  const codes = await together(session, 'lister', '/memoir.jobs.v1.JobsService/ListJobs', 8);
  const of = (code: status, all = codes) => all.filter((one) => one === String(code)).length;
  t.true(of(status.OK) >= 1);
  t.is(of(status.OK) + of(status.RESOURCE_EXHAUSTED), 8);
  t.true(of(status.RESOURCE_EXHAUSTED) >= 1, codes.join());
  await t.notThrowsAsync(server.as('lister').jobs.listJobs({}));
  // More than begin in one turn, of which ten have their share.
  const many = await together(session, 'hasty', '/memoir.jobs.v1.JobsService/GetQueueSize', 200);
  t.true(of(status.OK, many) >= 10);
  t.is(of(status.OK, many) + of(status.RESOURCE_EXHAUSTED, many), 200);
  session.close();
});

test('bytes are paid back before more calls are taken', async (t) => {
  const body = toBinary(CreateJobRequestSchema, create(CreateJobRequestSchema, { repository: 'x'.repeat(300_000) }));
  const large = () =>
    http2Call(server.address(), '/memoir.jobs.v1.JobsService/CreateJob', framed(body), { 'memoir-principal': 'large' });
  t.is((await large()).code, status.INVALID_ARGUMENT);
  const error = await failure(t, () => server.as('large').jobs.getQueueSize({}));
  t.like(error, { reason: 'TOO_MANY_BYTES', metadata: { setting: 'limits.bytes_per_second', limit: '65536' } });
  // 300,000 bytes less the burst, of which a second may be owed: about 2.6 s, and up to as much again.
  t.true((error.retryAfterMs ?? 0) > 1_500 && (error.retryAfterMs ?? 0) < 6_000, `${error.retryAfterMs}`);
  // Reports are taken all the same: this one is of no job.
  const report = await failure(t, () => server.as('large').worker.heartbeat({ uuid: 'none' }));
  t.not(report.code, status.RESOURCE_EXHAUSTED);
});
