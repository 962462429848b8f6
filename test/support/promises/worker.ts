import { randomBytes } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import { Fault } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import { JobState } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { CallError } from '../../../src/rpc/call-error.js';
import { plenty } from '../runs.js';
import type { Clients } from '../server.js';
import { answered, oneOf, type Random, type Telling, type Told } from './told.js';

/** What a worker knows of the world beside its calls. */
export type Surroundings = Telling & {
  /** Length of leases, in seconds. A server that is held up for a third of one begins it anew. */
  readonly leaseSeconds: number;
  /** Resolves when the attempt that the token began has ended, whoever ended it. */
  ended(token: string): Promise<void>;
};

type Heard = Extract<Told, { kind: 'heard' }>['of'];

/** An attempt, by its token. */
type Held = { readonly uuid: string; readonly claimToken: Buffer; readonly token: string };

/** How long a claim waits for a job. */
const wait = { nanos: 200_000_000 };

/**
 * One of several workers of one principal, which claims, sends claims again to another server, shows signs of life, completes, fails, gives
 * back, goes silent until its attempt is over and then takes it back, and says again what it said before. Each call goes to one of the servers.
 */
export async function actAsWorker(
  at: readonly Clients[],
  name: string,
  claims: number,
  random: Random,
  world: Surroundings,
): Promise<void> {
  const { told, now } = world;
  const lease = { seconds: BigInt(world.leaseSeconds) };

  async function claim(): Promise<Held | undefined> {
    const claimToken = randomBytes(16);
    const token = claimToken.toString('hex');
    const wish = { claimToken, lease, wait, workerName: name, offer: plenty };
    const send = () => answered(() => oneOf(random, at).worker.claimJob(wish));
    const first = await unlessEnded(async () => (await send()).job?.uuid);
    if (first !== undefined) told.push({ kind: 'runs', token, uuid: first, at: now() });
    if (random() < 0.6) return first === undefined ? undefined : { uuid: first, claimToken, token };
    // As if the answer had been lost.
    const again = await unlessEnded(async () => (await send()).job?.uuid);
    if (again === undefined) return undefined;
    told.push({ kind: 'runs', token, uuid: again, at: now() });
    return { uuid: again, claimToken, token };
  }

  /** Says something of an attempt; whether it was heard. */
  async function say(of: Heard, held: Held): Promise<boolean> {
    const { uuid, claimToken, token } = held;
    const output = of === 'completion' ? `sha256:${token}` : '';
    const from = now();
    const speak = async ({ worker }: Clients) => {
      if (of === 'heartbeat') return (await worker.heartbeat({ uuid, claimToken })).state === JobState.RUNNING;
      if (of === 'completion') {
        const { job } = await worker.completeJob({ uuid, claimToken, output, log: `sha256:${token}-log` });
        return job?.output === output;
      }
      const why =
        of === 'give_back'
          ? { reason: 'WORKER_STOPPED', fault: Fault.WORKER, givenBack: true }
          : { reason: 'SCRIPT_FAILED', fault: Fault.SCRIPT };
      await worker.failJob({ uuid, claimToken, ...why });
      return true;
    };
    const heard = await unlessEnded(() => answered(() => speak(oneOf(random, at))));
    if (heard) told.push({ kind: 'heard', token, uuid, of, from, to: now(), output });
    return heard === true;
  }

  /** Runs to its end, or what the worker takes for it. */
  async function run(held: Held): Promise<void> {
    for (let silences = 0; ; ) {
      const dice = random();
      if (dice < 0.3) {
        if (!(await say('heartbeat', held))) return;
      } else if (dice < 0.5 && silences < 2) {
        silences++;
        await world.ended(held.token);
        // It comes back, and goes on, or has just finished; or it never comes back.
        if (random() < 0.3) return;
        if (!(await say(random() < 0.6 ? 'heartbeat' : 'completion', held))) return;
      } else if (dice < 0.75) {
        if (await say('completion', held)) await say('completion', held);
        return;
      } else {
        const end = dice < 0.85 ? 'failure' : 'give_back';
        if (await say(end, held)) await say(oneOf(random, ['heartbeat', 'completion', end]), held);
        return;
      }
    }
  }

  for (let i = 0; i < claims; i++) {
    const held = await claim();
    if (held) await run(held);
  }
}

/** The answer; undefined if it is that the attempt has ended, or the job has. */
async function unlessEnded<T>(call: () => Promise<T>): Promise<T | undefined> {
  try {
    return await call();
  } catch (error) {
    if (!(error instanceof CallError) || error.code !== status.FAILED_PRECONDITION) throw error;
    return undefined;
  }
}
