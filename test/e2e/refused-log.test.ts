import { rmSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { pino } from 'pino';
import { newestFormat } from '../../src/domain/log-format.js';
import { systemEdge } from '../../src/edge.js';
import { openStore, sqliteUrl } from '../../src/eventstore/open-store.js';
import { metadataJson, type NewEvent } from '../../src/eventstore/port.js';
import { type RunningServer, startServer } from '../../src/main.js';
import { newEvent } from '../contract/events.js';
import { startDoubleProcess } from '../support/kurrentdb-double/process.js';
import { makeProject } from '../support/project.js';
import { rawCall } from '../support/raw-call.js';
import { failure } from '../support/refused.js';
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

async function refusesAll(t: ExecutionContext, address: string): Promise<void> {
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
    t.regex(error.message, /"JobPaused" at position \d+, is of log format \d+/);
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
