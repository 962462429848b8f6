import { setTimeout as delay } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { JobState } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { CallError } from '../../../src/rpc/call-error.js';
import { find, uuidOf } from '../runs.js';
import type { Clients } from '../server.js';
import { answered, oneOf, type Random, type Telling, type Told } from './told.js';

/** What clients ask for: of a few computations at once, and of others as time goes by, until it is over. */
export type Wishes = {
  readonly own: string;
  readonly atOnce: number;
  /** Longest time between two acts of a client, in milliseconds. */
  readonly pause: number;
  over(): boolean;
};

/** So many acts a client does before it leaves a computation for good. */
const actsOfEach = 6;

/** How often jobs are run again here: at once, after one loss. */
export const retry = { lost: 1, failed: 0, minBackoff: { nanos: 0 }, maxBackoff: { nanos: 0 } };

type Wait = Extract<Told, { kind: 'waits' }>;

/**
 * One client, who asks for work, polls, changes its priority and withdraws, one call after the other, each at one of the servers. What it is
 * told is recorded. It ends with some of its wishes standing.
 */
export async function actAsClient(
  at: readonly Clients[],
  { own, atOnce, pause, over }: Wishes,
  random: Random,
  { told, now }: Telling,
): Promise<void> {
  const who = at[0]?.principal ?? '';
  const waits = new Map<number, Wait>();
  let asked = 0;

  async function ask(number: number): Promise<void> {
    const before = waits.get(number);
    const request = {
      scriptParameters: { own, number },
      priority: Math.floor(random() * 3),
      retry,
      // A request of its own now and then, in a name of its own.
      ...(random() < 0.3 && { submitId: `${own}-${who}-${asked++}` }),
    };
    const answer = await answered(() => find(oneOf(random, at), request));
    const uuid = uuidOf(answer);
    if (before && before.uuid !== uuid) told.push({ kind: 'instead', who, uuid, before: before.uuid, at: now() });
    if (!isUnfinished(answer.job?.state)) {
      waits.delete(number);
    } else if (before?.uuid !== uuid) {
      const wait: Wait = { kind: 'waits', who, uuid, from: now(), until: Number.POSITIVE_INFINITY };
      waits.set(number, wait);
      told.push(wait);
    }
  }

  async function withdraw(number: number, wait: Wait): Promise<void> {
    waits.delete(number);
    wait.until = now();
    await orRefused(() => oneOf(random, at).jobs.cancelJob({ uuid: wait.uuid, allMine: true }));
  }

  async function prioritise({ uuid }: Wait): Promise<void> {
    const job = { uuid, priority: Math.floor(random() * 4) };
    await orRefused(() => oneOf(random, at).jobs.updateJob({ job, updateMask: { paths: ['priority'] } }));
  }

  for (let i = 0; !over(); i++) {
    await delay(random() * pause);
    const number = Math.floor(i / actsOfEach) + Math.floor(random() * atOnce);
    const wait = waits.get(number);
    const dice = random();
    if (!wait || dice < 0.4) await ask(number);
    else if (dice < 0.75) await withdraw(number, wait);
    else await prioritise(wait);
  }
}

/** Carries a call out that may come too late. */
async function orRefused(call: () => Promise<unknown>): Promise<void> {
  try {
    await answered(call);
  } catch (error) {
    // It has finished, or its priority decides nothing any more, or there are several wishes and none was named.
    if (!(error instanceof CallError) || error.code !== status.FAILED_PRECONDITION) throw error;
  }
}

function isUnfinished(state: JobState | undefined): boolean {
  return state === JobState.QUEUED || state === JobState.RUNNING;
}
