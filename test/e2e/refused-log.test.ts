import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { pino } from 'pino';
import { plainEnvironment } from '../../demo/program.js';
import { newestFormat } from '../../src/domain/log-format.js';
import { systemEdge } from '../../src/edge.js';
import { openStore, sqliteUrl } from '../../src/eventstore/open-store.js';
import { metadataJson, type NewEvent } from '../../src/eventstore/port.js';
import { type RunningServer, startServer } from '../../src/main.js';
import { newEvent } from '../contract/events.js';
import { buildEarlierVersion } from '../support/earlier-version.js';
import { startDoubleProcess } from '../support/kurrentdb-double/process.js';
import { makeProject } from '../support/project.js';
import { rawCall } from '../support/raw-call.js';
import { failure } from '../support/refused.js';
import { wanting } from '../support/required.js';
import { find } from '../support/runs.js';
import { clientsOf, type LogLine, startTestServer, testConfig } from '../support/server.js';
import { until } from '../support/until.js';
import '../support/native-client.js';

const project = makeProject();
test.after.always(() => project.repository.dispose());

const newer = { known: newestFormat + 1, allowed: newestFormat + 1 };

/** An event of a kind and a format that a version after this one has. */
function newerEvent(): NewEvent {
  const metadata = metadataJson({ principal: 'ada', requestId: 'r', serverVersion: '9', logFormat: newer.allowed });
  return { ...newEvent({}, 'JobPaused'), metadata };
}

/** What grpc.health.v1 says: 1 for SERVING, 2 for NOT_SERVING. */
async function health(address: string): Promise<number | undefined> {
  return (await rawCall(address, '/grpc.health.v1.Health/Check', Buffer.alloc(0))).at(-1);
}

async function refusesAll(t: ExecutionContext, address: string, event = 'JobPaused'): Promise<void> {
  const ada = clientsOf(address, 'ada');
  const calls: readonly (() => Promise<unknown>)[] = [
    () => find(ada, { scriptParameters: { after: 1 } }),
    () => ada.jobs.listJobs({}),
    () => ada.worker.claimJob({}),
    async () => {
      for await (const _ of ada.history.readHistory({ principal: 'ada' })) t.fail('the history was read');
    },
    async () => {
      for await (const _ of ada.history.subscribeEvents({ start: { case: 'beginning', value: {} } }))
        t.fail('an event was sent');
    },
  ];
  for (const call of calls) {
    const error = await failure(t, call);
    t.is(error.reason, 'NEWER_LOG');
    t.regex(error.message, new RegExp(`"${event}" at position \\d+, is of log format \\d+`));
  }
  t.is(await health(address), 2);
  ada.close();
}

test('a server of an older version on a newer log serves nothing, says why, and writes nothing', async (t) => {
  const server = await startTestServer({ repositories: { project: project.repository.path } });
  await find(server.as('ada'));
  await server.stop();
  const url = sqliteUrl(join(server.config.data_dir, 'events.sqlite'));
  const store = await openStore(url, systemEdge, undefined, newer);
  await store.append('job-11111111-1111-5111-8111-111111111111', 'no_stream', [newerEvent()]);
  const end = await store.end();
  await store.close();

  const lines: LogLine[] = [];
  const logger = pino({ level: 'error' }, { write: (line: string) => void lines.push(JSON.parse(line) as LogLine) });
  // Everything of its own that a server writes, it would write now.
  const older: RunningServer = await startServer({ ...server.config, checkpoint_interval: 0.001 }, systemEdge, logger);
  await t.throwsAsync(older.ready(), { message: /is of log format/ });
  await refusesAll(t, older.address);
  t.true(lines.some(({ msg }) => /nothing is served and nothing written/.test(msg)));
  await older.stop();
  const after = await openStore(url, systemEdge, undefined, newer);
  t.is(await after.end(), end);
  await after.close();
  await server.dispose();
});

test('a server that meets a newer event while it runs ends what is under way and refuses the rest', async (t) => {
  const double = await startDoubleProcess();
  const config = testConfig({ repositories: { project: project.repository.path }, settings: { store: double.url } });
  const lines: LogLine[] = [];
  const logger = pino({ level: 'error' }, { write: (line: string) => void lines.push(JSON.parse(line) as LogLine) });
  const server = await startServer(config, systemEdge, logger);
  t.teardown(async () => {
    await server.stop();
    await double.stop();
    rmSync(config.data_dir, { recursive: true, force: true });
  });
  await server.ready();
  const ada = clientsOf(server.address, 'ada');
  t.teardown(() => ada.close());
  const { job } = await find(ada);
  t.is(await health(server.address), 1);
  const events = ada.history.subscribeEvents({ start: { case: 'beginning', value: {} } })[Symbol.asyncIterator]();
  await events.next();
  const watch = ada.jobs.watchJob({ uuid: job?.uuid ?? '' })[Symbol.asyncIterator]();
  await watch.next();

  const store = await openStore(double.url, systemEdge, undefined, newer);
  await store.append('job-11111111-1111-5111-8111-111111111111', 'no_stream', [newerEvent()]);
  const end = await store.end();
  for (const stream of [events, watch]) {
    const error = await failure(t, async () => {
      while (!(await stream.next()).done);
    });
    t.is(error.reason, 'NEWER_LOG');
  }
  await until('the server is not serving', async () => (await health(server.address)) === 2);
  await refusesAll(t, server.address);
  t.is(await store.end(), end);
  await store.close();
});

/** The last commit whose version knows log format 3 and no higher one. */
const lastOfFormat3 = '4b46056';

test('the version before this one, beside this one on one store, stops when an event of format 4 is recorded', async (t) => {
  t.timeout(120_000);
  const earlier = await buildEarlierVersion(lastOfFormat3);
  if (!earlier) {
    wanting(t, 'history', `there is no commit ${lastOfFormat3} here`);
    return;
  }
  t.teardown(earlier.remove);
  const double = await startDoubleProcess();
  t.teardown(() => double.stop());
  const settings = { store: double.url, log_format: newestFormat };
  const server = await startTestServer({ repositories: { project: project.repository.path }, settings });
  t.teardown(() => server.dispose());
  const { data_dir: directory } = testConfig({});
  const of = ['--repository', `project=${project.repository.path}`, '--listen', '127.0.0.1:0'];
  const args = [earlier.memoir, 'serve', '--store', double.url, '--data-dir', directory, ...of];
  // It has no such setting yet.
  const env = { ...plainEnvironment(), MEMOIR_SANDBOX: undefined };
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  t.teardown(() => {
    child.kill('SIGKILL');
    rmSync(directory, { recursive: true, force: true });
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (said += text));
  const address = await until('the earlier version is ready', () => /^ready on (\S+)$/m.exec(said)?.[1]);

  // Beside each other they serve, while nothing is recorded that the earlier one does not know.
  const old = clientsOf(address, 'ada');
  t.teardown(old.close);
  const ada = server.as('ada');
  const { job } = await find(ada);
  t.is((await find(old)).job?.uuid, job?.uuid);
  t.is(await health(address), 1);

  await find(ada, { scriptParameters: { where: 'gpu' }, requiredLabels: { gpu: 'a100' } });
  await until('the earlier version is not serving', async () => (await health(address)) === 2);
  const store = await openStore(double.url, systemEdge);
  const end = await store.end();
  await refusesAll(t, address, 'JobRequested');
  t.is((await failure(t, () => old.jobs.cancelJob({ uuid: job?.uuid ?? '' }))).reason, 'NEWER_LOG');
  t.is(await store.end(), end);
  await store.close();
  // This one goes on.
  const { job: next } = await find(ada, { scriptParameters: { after: 2 } });
  t.is((await ada.jobs.getJob({ uuid: next?.uuid ?? '' })).job?.uuid, next?.uuid);
});
