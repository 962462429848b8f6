import { rmSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { systemEdge } from '../../src/edge.js';
import type { CallError } from '../../src/rpc/call-error.js';
import { collect } from '../contract/events.js';
import { startDouble } from '../support/kurrentdb-double/double.js';
import { makeProject } from '../support/project.js';
import { failure } from '../support/refused.js';
import { request, uuidOf } from '../support/runs.js';
import { type Clients, clientsOf, startTestServer, testConfig } from '../support/server.js';
import { startServerProcess } from '../support/server-process.js';
import { until } from '../support/until.js';
import '../support/native-client.js';
import { test } from '../support/serial.js';

const project = makeProject();
test.after.always(() => project.repository.dispose());

/** A job whose lost worker nobody follows. */
const once = { retry: { lost: 0 } };

/** A server whose clocks stand unless the test moves them. */
async function start(t: ExecutionContext) {
  const clock = { wall: 1_700_000_000_000, monotonic: 1_000, looks: 0 };
  const edge = {
    ...systemEdge,
    now: () => clock.wall,
    monotonic() {
      // Others look at this clock too, with every call.
      if (/running\/leases\.[jt]s/.test(new Error().stack ?? '')) clock.looks++;
      return clock.monotonic;
    },
  };
  const server = await startTestServer({ repositories: { project: project.repository.path }, edge });
  t.teardown(() => server.dispose());
  /** Resolves when the server has looked at all leases once more, from beginning to end. Between two looks a second counts at most. */
  const looked = async () => {
    const end = clock.looks + 2;
    await until('a look at the leases', () => clock.looks >= end);
  };
  const pass = async (seconds: number) => {
    await looked();
    for (let i = 0; i < seconds; i++) {
      clock.monotonic += 1_000;
      await looked();
    }
  };
  return { server, clock, looked, pass, ada: server.as('ada'), bob: server.as('bob') };
}

const stateOf = async (clients: ReturnType<Awaited<ReturnType<typeof startTestServer>>['as']>, uuid: string) =>
  (await clients.worker.heartbeat({ uuid })).state;

test('a lease that runs out fails the job, and a heartbeat makes it begin anew', async (t) => {
  const { pass, ada, bob } = await start(t);
  const uuid = uuidOf(await request(ada, once));
  await bob.worker.claimJob({ uuid, lease: { seconds: 2n } });
  for (let i = 0; i < 2; i++) {
    await pass(2);
    t.is(await stateOf(bob, uuid), JobState.RUNNING);
  }
  // A longer lease, as a heartbeat may ask for.
  await bob.worker.heartbeat({ uuid, lease: { seconds: 4n } });
  await pass(4);
  const { job: running } = await ada.jobs.getJob({ uuid });
  t.is(running?.state, JobState.RUNNING);
  await pass(1);
  const changes = await collect(ada.jobs.watchJob({ uuid }));
  const job = changes.at(-1)?.job;
  t.is(job?.state, JobState.FAILED);
  t.is(job?.failureReason, 'LEASE_EXPIRED');
  t.is(job?.failureMessage, 'worker bob sent no heartbeat within its lease of 4 s');
  t.is(job?.leaseExpiresAt, undefined);
  const events = await collect(ada.history.readHistory({ uuid }));
  t.is(events.at(-1)?.event?.eventType, 'JobFailed');
  t.is(events.at(-1)?.event?.metadata?.principal, 'memoir');
  // What the worker learns: to stop, and that nothing more is accepted.
  t.is(await stateOf(bob, uuid), JobState.FAILED);
  const error = await failure(t, () => bob.worker.completeJob({ uuid, output: 'o', log: 'l' }));
  t.true(error.message.includes('is Failed and cannot become Complete'), error.message);
});

test('no jump of the wall clock ends a lease', async (t) => {
  const { clock, looked, pass, ada, bob } = await start(t);
  const uuid = uuidOf(await request(ada, once));
  await bob.worker.claimJob({ uuid, lease: { seconds: 1n } });
  await looked();
  for (const jump of [-86_400_000, 10 * 365 * 86_400_000]) {
    clock.wall += jump;
    await looked();
    t.is((await ada.jobs.getJob({ uuid })).job?.state, JobState.RUNNING);
    t.is(await stateOf(bob, uuid), JobState.RUNNING);
  }
  // Nor does one keep it alive.
  clock.wall -= 20 * 365 * 86_400_000;
  await pass(2);
  t.is(await stateOf(bob, uuid), JobState.FAILED);
});

test('a lease of one second ends after a second of real time', async (t) => {
  const server = await startTestServer({ repositories: { project: project.repository.path } });
  t.teardown(() => server.dispose());
  const [ada, bob] = [server.as('ada'), server.as('bob')];
  const uuid = uuidOf(await request(ada, once));
  await bob.worker.claimJob({ uuid, lease: { seconds: 1n } });
  const before = performance.now();
  const changes = await collect(ada.jobs.watchJob({ uuid }));
  t.deepEqual(
    changes.map(({ eventType }) => eventType),
    ['', 'JobFailed'],
  );
  t.is(changes.at(-1)?.job?.failureReason, 'LEASE_EXPIRED');
  t.true(performance.now() - before > 950);
});

test('a lease outlives a restart of the server and ends by the clock of the new one', async (t) => {
  const { server, clock, pass, ada, bob } = await start(t);
  const uuid = uuidOf(await request(ada, once));
  await bob.worker.claimJob({ uuid, lease: { seconds: 2n } });
  await server.stop();
  clock.monotonic = 5;
  clock.wall += 3_600_000;
  await server.restart();
  await pass(2);
  t.is((await server.as('ada').jobs.getJob({ uuid })).job?.state, JobState.RUNNING);
  await pass(1);
  t.is(await stateOf(server.as('bob'), uuid), JobState.FAILED);
});

/** Heartbeats five times a second, whatever they are answered, until `stop`. */
function beat(worker: Clients['worker'], uuid: string) {
  const states: (JobState | undefined)[] = [];
  let stopped = false;
  const beating = (async () => {
    while (!stopped) {
      states.push(
        await worker.heartbeat({ uuid }).then(
          (answer) => answer.state,
          () => undefined,
        ),
      );
      await delay(200);
    }
  })();
  return {
    /** Resolves when heartbeats that began from now on were answered, with the states that all answers named. */
    async answered() {
      const end = states.length + 4;
      await until('heartbeats', () => states.length >= end && states.at(-1) !== undefined);
      return new Set(states.filter((state) => state !== undefined));
    },
    async stop() {
      stopped = true;
      await beating;
    },
  };
}

test('a server that was stopped for longer than a lease fails no job of a live worker', async (t) => {
  const config = testConfig({ repositories: { project: project.repository.path } });
  const server = await startServerProcess(config);
  const [ada, bob] = [clientsOf(server.address, 'ada'), clientsOf(server.address, 'bob')];
  t.teardown(async () => {
    for (const clients of [ada, bob]) clients.close();
    await server.kill();
    rmSync(config.data_dir, { recursive: true, force: true });
  });
  const uuid = uuidOf(await request(ada, once));
  await bob.worker.claimJob({ uuid, lease: { seconds: 2n } });
  const heart = beat(bob.worker, uuid);
  await heart.answered();
  process.kill(server.pid, 'SIGSTOP');
  // That this time passes is what is tested.
  await delay(5_000);
  process.kill(server.pid, 'SIGCONT');
  t.deepEqual(await heart.answered(), new Set([JobState.RUNNING]));
  await heart.stop();
  const changes = await collect(ada.jobs.watchJob({ uuid }));
  t.is(changes.at(-1)?.job?.failureReason, 'LEASE_EXPIRED');
});

test('a store that was away for longer than a lease costs no live worker its job', async (t) => {
  const double = await startDouble();
  const server = await startTestServer({
    repositories: { project: project.repository.path },
    settings: { store: double.url },
  });
  t.teardown(async () => {
    // The read model says that it cannot follow, as it should.
    server.errors.length = 0;
    await server.dispose();
    await double.stop();
  });
  const [ada, bob] = [server.as('ada'), server.as('bob')];
  const uuid = uuidOf(await request(ada));
  await bob.worker.claimJob({ uuid, lease: { seconds: 2n } });
  const heart = beat(bob.worker, uuid);
  await heart.answered();
  double.refuse(true);
  double.dropConnections();
  await delay(5_000);
  double.refuse(false);
  t.deepEqual(await heart.answered(), new Set([JobState.RUNNING]));
  await heart.stop();
  // The store takes what is recorded; that what follows the log is connected again too may take a moment longer.
  const changes = await until('a watch', () =>
    collect(ada.jobs.watchJob({ uuid })).catch((error: CallError) => {
      if (error.reason !== 'READ_MODEL_UNAVAILABLE') throw error;
      return undefined;
    }),
  );
  t.is(changes.at(-1)?.job?.failureReason, 'LEASE_EXPIRED');
});

test('a heartbeat carries what is new, keeps what is not, and tells of a cancellation', async (t) => {
  const { ada, bob } = await start(t);
  const uuid = uuidOf(await request(ada, once));
  await bob.worker.claimJob({ uuid, lease: { seconds: 10n } });
  const tasksSummary = { todo: 3, running: 2, done: 1, failed: 0 };
  const first = await bob.worker.heartbeat({ uuid, tasksSummary, progress: 0.25, progressMessage: 'aligning' });
  t.is(first.state, JobState.RUNNING);
  t.false(first.cancelled);
  t.is(first.leaseExpiresAt?.seconds, 1_700_000_010n);
  await bob.worker.heartbeat({ uuid });
  await bob.worker.heartbeat({ uuid, progress: 1 });
  const { job } = await ada.jobs.getJob({ uuid, consistencyToken: (await request(ada)).consistencyToken });
  t.like(job?.tasksSummary, tasksSummary);
  t.is(job?.progress, 1);
  t.is(job?.progressMessage, 'aligning');
  t.is(job?.revision, 4);
  await bob.worker.heartbeat({ uuid, progress: 0, progressMessage: '' });
  await ada.jobs.cancelJob({ uuid });
  const last = await bob.worker.heartbeat({ uuid });
  t.deepEqual([last.state, last.cancelled, last.leaseExpiresAt], [JobState.CANCELLED, true, undefined]);
  const { job: cancelled } = await ada.jobs.getJob({ uuid, consistencyToken: (await request(ada)).consistencyToken });
  t.deepEqual([cancelled?.progress, cancelled?.progressMessage], [0, '']);
  t.deepEqual([cancelled?.cancelledBy, cancelled?.leaseExpiresAt], ['ada', undefined]);
});
