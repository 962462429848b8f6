import { randomBytes, randomInt } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import type { RecordedEvent } from '../../../src/eventstore/port.js';
import { CallError } from '../../../src/rpc/call-error.js';
import { find, uuidOf } from '../runs.js';
import type { Clients } from '../server.js';
import type { Operation } from './checker.js';
import type { Answered, Asked, ComputationHistory } from './computation.js';

/** Codes after which nobody knows whether the call was carried out. */
const unknown: readonly status[] = [status.UNAVAILABLE, status.DEADLINE_EXCEEDED, status.CANCELLED, status.ABORTED];

/** What happens at once, and for how long. */
export type Traffic = {
  /** Text that is in the parameters of every job of it and of no other. */
  readonly own: string;
  readonly computations: number;
  /** Callers of each computation, and calls of each. */
  readonly callers: number;
  readonly calls: number;
};

/** A history for each computation. */
export type Histories = readonly ComputationHistory[];

/**
 * Calls CreateJob, ClaimJob, CompleteJob and CancelJob of several computations at once, and records when each was asked for and answered,
 * and with what. `clients` are the callers, all of one name, since an unfinished job is the answer for its owner alone; a caller
 * makes its calls one after the other.
 */
export async function recordHistories(
  clients: (caller: number) => Clients,
  { own, computations, callers, calls }: Traffic,
): Promise<Histories> {
  let clock = 0;
  return Promise.all(
    Array.from({ length: computations }, async (_, number) => {
      const history: Operation<Asked, Answered>[] = [];
      // The last job that somebody was told of.
      let latest: string | undefined;

      async function record(input: Asked, call: () => Promise<Answered>): Promise<Answered | undefined> {
        const from = clock++;
        let output: Answered | undefined;
        try {
          output = await call();
        } catch (error) {
          output = answerOf(error);
        }
        history.push({ input, output, from, to: output === undefined ? Number.POSITIVE_INFINITY : clock++ });
        return output;
      }

      await Promise.all(
        Array.from({ length: callers }, async (_, caller) => {
          const who = clients(caller);
          const held = new Map<string, Buffer>();
          for (let i = 0; i < calls; i++) {
            const dice = randomInt(10);
            const [uuid, token] = [...held].at(-1) ?? [];
            if (latest === undefined || dice < 3) {
              const told = await record({ kind: 'create' }, async () => {
                const answer = await find(who, { scriptParameters: { own, number } });
                return { kind: 'job', uuid: uuidOf(answer), reused: answer.reused };
              });
              if (told?.kind === 'job') latest = told.uuid;
            } else if (uuid !== undefined && token !== undefined && dice < 7) {
              held.delete(uuid);
              const input = { kind: 'complete', uuid, token: token.toString('hex') } as const;
              await record(input, async () => {
                await who.worker.completeJob({ uuid, claimToken: token, output: 'sha256:out', log: 'sha256:log' });
                return { kind: 'done' };
              });
            } else if (dice < 9) {
              const [wanted, fresh] = [latest, randomBytes(16)];
              const told = await record({ kind: 'claim', uuid: wanted, token: fresh.toString('hex') }, async () => {
                await who.worker.claimJob({ uuid: wanted, claimToken: fresh, lease: { seconds: 3_600n } });
                return { kind: 'done' };
              });
              // Somebody who does not know whether the job is theirs does not complete it: the claim would be repeated first.
              if (told?.kind === 'done') held.set(wanted, fresh);
            } else {
              const wanted = latest;
              await record({ kind: 'cancel', uuid: wanted, by: who.principal }, async () => {
                await who.jobs.cancelJob({ uuid: wanted });
                return { kind: 'done' };
              });
            }
          }
        }),
      );
      return history;
    }),
  );
}

/** What an error says of the call; undefined if it leaves open what came of it. */
function answerOf(error: unknown): Answered | undefined {
  if (!(error instanceof CallError)) throw error;
  if (unknown.includes(error.code)) return undefined;
  if (error.code === status.FAILED_PRECONDITION || error.code === status.PERMISSION_DENIED) return { kind: 'refused' };
  throw error;
}

/** What in the log contradicts the answers, in words. `events` are those of the log, `own` as in the traffic. */
export function contradictions(histories: Histories, events: readonly RecordedEvent[], own: string): string[] {
  const jobs = new Map<string, string[]>();
  for (const { stream, type, data } of events) {
    if (!stream.startsWith('job-')) continue;
    const uuid = stream.slice('job-'.length);
    if (type === 'JobRequested' ? data.includes(own) : jobs.has(uuid)) {
      jobs.set(uuid, [...(jobs.get(uuid) ?? []), type]);
    }
  }
  const found: string[] = [];
  const story = /^JobRequested( JobStarted)?( JobCompleted|( JobLeft)? JobCancelled)?$/;
  for (const [uuid, types] of jobs) {
    const told = types.join(' ');
    if (!story.test(told)) found.push(`job ${uuid} has the story ${told}`);
    const claims = histories.flat().filter(({ input, output }) => isDone(output) && isClaimOf(input, uuid));
    if (claims.length > 1) found.push(`job ${uuid} was given to ${claims.length} claims`);
  }
  for (const { input, output } of histories.flat()) {
    const uuid = output?.kind === 'job' ? output.uuid : 'uuid' in input && isDone(output) ? input.uuid : undefined;
    if (uuid === undefined) continue;
    if (!jobs.get(uuid)?.includes(typeOf[input.kind]))
      found.push(`${input.kind} of ${uuid} was answered and is not in the log`);
  }
  return found;
}

const typeOf = {
  create: 'JobRequested',
  claim: 'JobStarted',
  complete: 'JobCompleted',
  cancel: 'JobCancelled',
} as const;
const isDone = (output: Answered | undefined) => output?.kind === 'done';
const isClaimOf = (input: Asked, uuid: string) => input.kind === 'claim' && input.uuid === uuid;
