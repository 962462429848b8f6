import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import test, { type ExecutionContext } from 'ava';
import { startMemoir } from '../../demo/program.js';
import { collect } from '../contract/events.js';
import { startDouble } from '../support/kurrentdb-double/double.js';
import { makeProject } from '../support/project.js';
import { rawCall } from '../support/raw-call.js';
import { eventsOf, liveRows, rebuiltRows } from '../support/read-model.js';
import { failure } from '../support/refused.js';
import { complete, find, request, uuidOf } from '../support/runs.js';
import { same } from '../support/same.js';
import { clientsOf, loseReadModel, startTestServer } from '../support/server.js';
import '../support/native-client.js';

const project = makeProject();
test.after.always(() => project.repository.dispose());

async function start(t: ExecutionContext, drain_timeout = 120) {
  const server = await startTestServer({
    repositories: { project: project.repository.path },
    settings: { drain_timeout },
  });
  t.teardown(() => server.dispose());
  return { server, ada: server.as('ada'), bob: server.as('bob') };
}

/** Milliseconds that it takes. */
async function timed(work: () => Promise<unknown>): Promise<number> {
  const before = performance.now();
  await work();
  return performance.now() - before;
}

test('streams end with UNAVAILABLE, waiting claims with an answer, at once', async (t) => {
  const { server, ada, bob } = await start(t);
  const uuid = uuidOf(await request(ada));
  await bob.worker.claimJob({ uuid });
  const watcher = ada.jobs.watchJob({ uuid });
  await watcher.next();
  const streams = [
    collect(watcher),
    collect(ada.jobs.watchJob({ uuid })),
    collect(ada.jobs.tailJobLog({ uuid })),
    collect(bob.jobs.tailJobLog({ uuid, offset: 5n })),
  ];
  const claims = [bob.worker.claimJob({ wait: { seconds: 300n } }), ada.worker.claimJob({ wait: { seconds: 300n } })];
  // Calls behind them on the same connections have been answered, so that those are under way.
  await ada.jobs.getQueueSize({});
  await bob.jobs.getQueueSize({});
  const ended = streams.map((stream) => failure(t, () => stream));
  t.true((await timed(() => server.stop())) < 60_000, 'long before the 120 s that calls are given');
  for (const error of await Promise.all(ended)) {
    t.is(error.code, 14);
    t.is(error.reason, 'SHUTTING_DOWN');
  }
  for (const { job } of await Promise.all(claims)) t.is(job, undefined);
  t.is((await failure(t, () => rawCall(server.address(), '/x/y', Buffer.alloc(0)))).code, 14);
});

test('SIGTERM ends a server whose store swallows everything, with five calls under way', async (t) => {
  const double = await startDouble();
  const data = mkdtempSync(join(tmpdir(), 'memoir-shutdown-'));
  const repository = `project=${project.repository.path}`;
  const args = [
    'serve',
    '--data-dir',
    data,
    '--listen',
    '127.0.0.1:0',
    '--repository',
    repository,
    '--store',
    double.url,
  ];
  const program = startMemoir([...args, '--drain-timeout', '0.5']);
  t.teardown(async () => {
    await program.stop('SIGKILL');
    await double.stop();
    rmSync(data, { recursive: true });
  });
  const address = (await program.says(/^ready on (\S+)$/m))[1] ?? '';
  const ada = clientsOf(address, 'ada');
  t.teardown(() => ada.close());
  const uuid = uuidOf(await request(ada));
  for (const node of double.nodes) node.swallow(true);
  const calls = [
    request(ada, { scriptParameters: { of: 1 } }),
    ada.worker.claimJob({ uuid }),
    ada.jobs.cancelJob({ uuid }),
    ada.jobs.getJob({ uuid, consistencyToken: '999999999' }),
    collect(ada.history.readHistory({ uuid })),
  ];
  const ended = Promise.allSettled(calls);
  // Behind them on the same connection.
  await failure(t, () => rawCall(address, '/x/y', Buffer.alloc(0)));
  t.true((await timed(() => program.stop('SIGTERM'))) < 20_000, 'by the drain time and what closing may take, 7 s');
  for (const { status } of await ended) t.is(status, 'rejected');
  t.is(await program.ended(), 0);
});

test('writes under way are finished and answered', async (t) => {
  const { server, ada } = await start(t);
  const writes = Array.from({ length: 100 }, (_, i) => request(ada, { scriptParameters: { i } }));
  await Promise.race(writes);
  await server.stop();
  const answers = await Promise.allSettled(writes);
  const told = answers.flatMap((answer) => (answer.status === 'fulfilled' ? [uuidOf(answer.value)] : []));
  const there = new Set((await eventsOf(server.config)).map(({ stream }) => stream));
  t.deepEqual(
    told.filter((uuid) => !there.has(`job-${uuid}`)),
    [],
  );
  for (const answer of answers) if (answer.status === 'rejected') t.is(answer.reason.code, 14, answer.reason.message);
});

test('an open upload of a live log does not hold the end up', async (t) => {
  const { server, ada, bob } = await start(t);
  const uuid = uuidOf(await request(ada));
  await bob.worker.claimJob({ uuid });
  const client = new Client(server.address(), credentials.createInsecure());
  t.teardown(() => client.close());
  const same = (bytes: Buffer) => bytes;
  const path = '/memoir.worker.v1.WorkerService/AppendJobLog';
  const metadata = new Metadata();
  metadata.set('memoir-principal', 'bob');
  const ended = new Promise<number>((resolve) => {
    const call = client.makeClientStreamRequest(path, same, same, metadata, (error) => resolve(error?.code ?? 0));
    call.write(Buffer.concat([Buffer.from([10, 36]), Buffer.from(uuid), Buffer.from([18, 1, 0x78])]));
  });
  const tail = ada.jobs.tailJobLog({ uuid });
  t.is((await tail.next()).value?.text, 'x');
  t.true((await timed(() => server.stop())) < 60_000);
  t.is(await ended, 14);
});

test('calls that do not end are cut off when their time is over', async (t) => {
  const { server, ada } = await start(t, 0.3);
  const client = new Client(server.address(), credentials.createInsecure());
  t.teardown(() => client.close());
  const same = (bytes: Buffer) => bytes;
  const ended = new Promise<number>((resolve) => {
    // A unary call whose request never comes to its end.
    client.makeClientStreamRequest('/memoir.jobs.v1.JobsService/GetQueueSize', same, same, (error) =>
      resolve(error?.code ?? 0),
    );
  });
  await ada.jobs.getQueueSize({});
  t.true((await timed(() => server.stop())) < 60_000);
  t.not(await ended, 0);
});

test('deleting the read model loses nothing', async (t) => {
  const { server, ada, bob } = await start(t);
  const made = uuidOf(await find(ada, { description: 'd', submitId: 's' }));
  await complete(bob, made);
  const failed = uuidOf(await request(ada, { scriptParameters: { other: 1 }, priority: 3 }));
  const deleted = uuidOf(await request(ada, { scriptParameters: { deleted: 1 } }));
  await complete(bob, deleted);
  await ada.jobs.deleteJob({ uuid: deleted });
  const { jobs: before } = await ada.jobs.listJobs({ consistencyToken: String(await server.end()) });
  const rows = liveRows(server.config);
  await server.stop();
  loseReadModel(server.config);
  await server.restart();
  const again = server.as('ada');
  t.deepEqual((await again.jobs.listJobs({})).jobs, before);
  t.deepEqual(
    (await again.jobs.getQueue({})).jobs.map(({ uuid }) => uuid),
    [failed],
  );
  same(t, liveRows(server.config), rows);
  t.deepEqual(await rebuiltRows(server.config), rows);
  t.is(uuidOf(await find(again)), made);
});
