import { rmSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { systemEdge } from '../../src/edge.js';
import { openLog } from '../../src/eventstore/open-store.js';
import type { RecordedEvent } from '../../src/eventstore/port.js';
import type { CallError } from '../../src/rpc/call-error.js';
import { audited } from '../audit/scene.js';
import { type DoubleProcess, startDoubleProcess } from '../support/kurrentdb-double/process.js';
import { makeProject } from '../support/project.js';
import { ownRange, realServer } from '../support/real-kurrentdb.js';
import { rounds } from '../support/rounds.js';
import { find, request, uuidOf } from '../support/runs.js';
import { type Clients, clientsOf, testConfig } from '../support/server.js';
import { type ServerProcess, startServerProcess } from '../support/server-process.js';
import '../support/native-client.js';

// Three servers in processes of their own, each with its own read model, on one store: the double, in a process of its own too,
// or the server that MEMOIR_TEST_KURRENTDB names.

/** MEMOIR_ROUNDS=100 and MEMOIR_REPLICA_JOBS=2000 for the whole of it. */
const times = rounds(1);
const jobs = Number(process.env.MEMOIR_REPLICA_JOBS ?? 40);
const replicas = 3;
const atOnce = 200;
const workersEach = 8;

const project = makeProject();
test.after.always(() => project.repository.dispose());

type Cluster = { readonly url: string; readonly servers: readonly ServerProcess[]; events(): Promise<RecordedEvent[]> };

/** The cluster of this file: its tests leave jobs behind that the others pass over, and the last one kills a server. */
let cluster: Cluster;
let end: () => Promise<void> = async () => {};
test.serial.before(async (t) => {
  t.timeout(900_000);
  cluster = await startReplicas(t);
});
test.serial.after.always(() => end());

async function startReplicas(t: ExecutionContext): Promise<Cluster> {
  const release = await ownRange(t);
  const double: DoubleProcess | undefined = realServer === undefined ? await startDoubleProcess() : undefined;
  const url = realServer ?? double?.url ?? '';
  const configs = Array.from({ length: replicas }, () =>
    testConfig({ repositories: { project: project.repository.path }, settings: { store: url } }),
  );
  const servers = await Promise.all(configs.map((config) => startServerProcess(config)));
  end = async () => {
    await Promise.all(servers.map((server) => server.kill()));
    await double?.stop();
    release();
    for (const { data_dir } of configs) rmSync(data_dir, { recursive: true, force: true });
  };
  return {
    url,
    servers,
    async events() {
      const log = await openLog(url, systemEdge);
      const events: RecordedEvent[] = [];
      for await (const event of log.readAll()) events.push(event);
      await log.close();
      return events;
    },
  };
}

test.serial(`${atOnce} equal find_or_creates at ${replicas} servers make one job, ${times} rounds`, async (t) => {
  t.timeout(900_000);
  const { servers, url } = cluster;
  const own = crypto.randomUUID();
  const ada = servers.map(({ address }) => clientsOf(address, 'ada'));
  const made: string[] = [];
  for (let round = 0; round < times; round++) {
    const answers = await Promise.all(
      Array.from({ length: atOnce }, (_, i) =>
        find(ada[i % replicas] as Clients, { scriptParameters: i % 2 ? { own, round } : { round, own } }),
      ),
    );
    t.is(new Set(answers.map(uuidOf)).size, 1, `round ${round}`);
    t.is(answers.filter(({ reused }) => !reused).length, 1, `round ${round}`);
    made.push(uuidOf(answers[0] ?? {}));
    // Whoever holds a token sees at every server what it stands for.
    const last = answers.reduce((a, b) => (Number(a.consistencyToken) > Number(b.consistencyToken) ? a : b));
    for (const { jobs } of ada) {
      const { job } = await jobs.getJob({ uuid: made[round] ?? '', consistencyToken: last.consistencyToken });
      t.is(job?.runNumber, 1);
    }
  }
  t.is(new Set(made).size, times);
  for (const clients of ada) clients.close();
  // Whatever each server had read of the others when it decided, its decisions come out of the log again.
  const { report, findings } = await audited(await openLog(url, systemEdge), { project: project.repository.path });
  t.deepEqual(findings, []);
  t.true(report.same >= times * atOnce);
});

test.serial('the same submit_id at several servers at once is one job', async (t) => {
  t.timeout(900_000);
  const { servers } = cluster;
  const ada = servers.map(({ address }) => clientsOf(address, 'ada'));
  const own = crypto.randomUUID();
  for (const findOrCreate of [true, false]) {
    const submitId = `${own} ${findOrCreate}`;
    const answers = await Promise.all(
      Array.from({ length: 30 }, (_, i) =>
        request(ada[i % replicas] as Clients, { submitId, findOrCreate, scriptParameters: { own, findOrCreate } }),
      ),
    );
    t.is(new Set(answers.map(uuidOf)).size, 1);
    t.is(answers.filter(({ reused }) => !reused).length, 1);
  }
  for (const clients of ada) clients.close();
});

test.serial(
  `${replicas} × ${workersEach} workers run ${jobs} jobs once each, and a server dies half-way`,
  async (t) => {
    t.timeout(900_000);
    const { servers, events } = cluster;
    const ada = servers.map(({ address }) => clientsOf(address, 'ada'));
    const own = crypto.randomUUID();
    const mine = new Set<string>();
    await Promise.all(
      Array.from({ length: jobs }, async (_, i) => {
        mine.add(uuidOf(await request(ada[i % replicas] as Clients, { scriptParameters: { own, i } })));
      }),
    );
    t.is(mine.size, jobs);
    const ran: string[] = [];
    let over = false;
    let killed: Promise<void> | undefined;

    async function work(worker: number): Promise<void> {
      let at = worker % replicas;
      let clients = clientsOf((servers[at] as ServerProcess).address, `worker-${worker}`);
      const move = () => {
        clients.close();
        at = (at + 1) % replicas;
        clients = clientsOf((servers[at] as ServerProcess).address, `worker-${worker}`);
      };
      while (!over) {
        let uuid: string | undefined;
        try {
          const claim = { lease: { seconds: 6n }, wait: { nanos: 200_000_000 } };
          uuid = (await clients.worker.claimJob(claim)).job?.uuid;
        } catch (error) {
          if ((error as CallError).code !== 14) throw error;
          // The server is gone. Whether it claimed a job first is unknown.
          move();
        }
        if (uuid === undefined) continue;
        // A server that other tests used has other jobs too.
        if (mine.has(uuid)) ran.push(uuid);
        if (ran.length >= jobs / 2) killed ??= (servers[0] as ServerProcess).kill();
        await finish(uuid);
      }
      clients.close();

      async function finish(job: string): Promise<void> {
        for (;;) {
          try {
            await clients.worker.completeJob({ uuid: job, output: `of ${job}`, log: 'l' });
            return;
          } catch (error) {
            // FAILED_PRECONDITION: the answer was lost with the server, the job was complete.
            if ((error as CallError).code === 9) return;
            if ((error as CallError).code !== 14) throw error;
            move();
          }
        }
      }
    }

    const workers = Promise.all(Array.from({ length: replicas * workersEach }, (_, i) => work(i)));
    const survivor = ada[1] as Clients;
    const drained = async () => {
      for (;;) {
        const now = await states(survivor, mine);
        if (!now.get(JobState.QUEUED) && !now.get(JobState.RUNNING)) return;
        await delay(200);
      }
    };
    await Promise.race([workers, drained()]);
    over = true;
    await workers;
    await killed;
    t.true(killed !== undefined);
    t.is(new Set(ran).size, ran.length, 'no job was given to two workers');

    const types = new Map<string, string[]>();
    for (const { stream, type } of await events()) {
      const uuid = stream.slice('job-'.length);
      if (stream.startsWith('job-') && mine.has(uuid)) types.set(uuid, [...(types.get(uuid) ?? []), type]);
    }
    const stories = [...types].map(([uuid, story]) => `${ran.includes(uuid) ? 'ran' : 'lost'}: ${story.join(' ')}`);
    const counts = new Map<string, number>();
    for (const story of stories) counts.set(story, (counts.get(story) ?? 0) + 1);
    const complete = counts.get('ran: JobRequested JobStarted JobCompleted') ?? 0;
    // A claim whose answer died with the server has a lease that runs out: the job fails, and is not run again by itself.
    const lost = counts.get('lost: JobRequested JobStarted JobFailed') ?? 0;
    t.is(complete + lost, jobs, [...counts].join('; '));
    t.is(complete, ran.length);
    t.true(lost <= workersEach, `${lost} claims were lost`);
    t.log(`${complete} jobs ran, ${lost} claims were lost with the server`);
    // The servers that are left agree with each other.
    for (const clients of ada.slice(1)) {
      const all = await states(clients, mine);
      t.deepEqual([all.get(JobState.COMPLETE), all.get(JobState.FAILED) ?? 0], [complete, lost]);
    }
    for (const clients of ada) clients.close();
  },
);

async function states({ jobs }: Clients, of: ReadonlySet<string>): Promise<Map<JobState, number>> {
  const counts = new Map<JobState, number>();
  let pageToken = '';
  do {
    const page = await jobs.listJobs({ pageSize: 1_000, pageToken });
    for (const { uuid, state } of page.jobs) if (of.has(uuid)) counts.set(state, (counts.get(state) ?? 0) + 1);
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return counts;
}
