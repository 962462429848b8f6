import { randomInt, randomUUID } from 'node:crypto';
import test from 'ava';
import { JobState } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { stateName } from '../../../src/domain/job.js';
import { newestFormat } from '../../../src/domain/log-format.js';
import { jobStream } from '../../../src/domain/streams.js';
import { startDouble } from '../../support/kurrentdb-double/double.js';
import { makeProject } from '../../support/project.js';
import { endsOf } from '../../support/promises/attempt-ends.js';
import { actAsClient } from '../../support/promises/client.js';
import { judge } from '../../support/promises/judge.js';
import { type Random, seeded, type Told } from '../../support/promises/told.js';
import { actAsWorker } from '../../support/promises/worker.js';
import { rounds } from '../../support/rounds.js';
import { type Clients, startTestServer, type TestServer } from '../../support/server.js';
import { until } from '../../support/until.js';
import '../../support/native-client.js';

// The histories of docs/model, made at random, against two real servers on one log, with the model's assertions. The seed of a round tells
// what each one does; what comes of it depends on who is faster too. MEMOIR_ROUNDS=100 for the whole of it: joins against completions,
// cancellations, claims and expiries, 100 rounds, ten of them at a time; MEMOIR_SERVERS=3 MEMOIR_CLIENTS=50 for more of them at once.

const serverCount = Number(process.env.MEMOIR_SERVERS ?? 2);
const clients = Array.from({ length: Number(process.env.MEMOIR_CLIENTS ?? 3) }, (_, i) => `client-${i}`);
const workers = ['w1', 'w2', 'w3'];

/**
 * The shortest lease that there is, so that what is lost is seen to be soon. Where many act, it is longer: all servers are in this process, which is then
 * held up for longer than a third of a second again and again.
 */
const leaseSeconds = clients.length > 12 ? 3 : 1;

/** Rounds at the same time: each waits for leases to run out for most of its own. */
const abreast = Number(process.env.MEMOIR_ABREAST ?? 10);

/** Longest pause of a client, in milliseconds, while no more than so many clients act: more of them act less often, so that calls do not queue up. */
const shortestPause = 120;
const actingAtOnce = 8;

const project = makeProject();
test.after.always(() => project.repository.dispose());

test('what people are told of jobs is kept by servers on one log, whoever joins, withdraws, is cut off or comes back', async (t) => {
  t.timeout(3_600_000);
  const double = await startDouble();
  t.teardown(() => double.stop());
  const settings = { store: double.url, log_format: newestFormat };
  const servers: TestServer[] = [];
  for (let i = 0; i < serverCount; i++) {
    const server = await startTestServer({ repositories: { project: project.repository.path }, settings });
    t.teardown(async () => {
      // Of a store that is away for a moment a server says so, as it should.
      server.errors.length = 0;
      await server.dispose();
    });
    servers.push(server);
  }
  const told: Told[] = [];
  const now = () => double.log.records.length;
  const ended = endsOf(double.log);

  /** One round, of which the seed tells what each one does. */
  async function play(seed: number, pause: number): Promise<Told[]> {
    const random = seeded(seed);
    const own = randomUUID();
    const telling = { told: [], now };
    const each = (who: string): [at: Clients[], random: Random] => [
      servers.map((server) => server.as(who)),
      seeded(random() * 2 ** 32),
    ];
    let over = false;
    const asking = clients.map((who) => {
      const [at, its] = each(who);
      return actAsClient(at, { own, atOnce: 2, pause, over: () => over }, its, telling);
    });
    const working = workers.map((name) => {
      const [at, its] = each('worker');
      return actAsWorker(at, name, 3, its, { ...telling, leaseSeconds, ended });
    });
    await Promise.all(working).finally(() => {
      over = true;
    });
    await Promise.all(asking);
    return telling.told;
  }

  const whole = rounds(1);
  for (let round = 0; round < whole; round += abreast) {
    const seeds = Array.from({ length: Math.min(abreast, whole - round) }, () =>
      Number(process.env.MEMOIR_SEED ?? randomInt(2 ** 32)),
    );
    t.log(`rounds from ${round} on, MEMOIR_SEED=${seeds.join(' or ')}`);
    // Some answers of the store are lost, and once the connection.
    for (const fault of ['lose_answer', 'lose_answer', 'drop'] as const) {
      double.faults.inject('append', ...Array.from({ length: 9 }, () => undefined), { kind: fault });
    }
    const from = now();
    const pause = shortestPause * Math.max(1, (clients.length * seeds.length) / actingAtOnce);
    told.push(...(await Promise.all(seeds.map((seed) => play(seed, pause)))).flat());
    const { stories, broken } = judge(double.log.records, told);
    t.deepEqual(broken, [], `MEMOIR_SEED=${seeds.join(' or ')}`);
    // All servers tell the same as the log of every job that something happened to.
    const touched = new Set(double.log.records.slice(from).map(({ stream }) => stream));
    for (const server of servers) {
      const { jobs } = server.as('client-0');
      for (const { uuid, state, attempts, standing } of stories.values()) {
        if (!touched.has(jobStream(uuid))) continue;
        await until(`${uuid} is ${state} at all servers`, async () => {
          const { job } = await jobs.getJob({ uuid });
          const waiting = state === 'Queued' || state === 'Running' ? standing.size : 0;
          return (
            stateName(job?.state ?? JobState.UNSPECIFIED) === state &&
            job?.attemptCount === attempts.length &&
            job.interestCount === waiting
          );
        });
      }
    }
  }
  const kinds = new Set(double.log.records.map(({ type }) => type));
  t.log(
    `${told.length} answers, ${double.log.records.length} events of ${[...kinds].filter((kind) => /^Job/.test(kind))}`,
  );
});
