import { create } from '@bufbuild/protobuf';
import { durationFromMs, durationMs } from '@bufbuild/protobuf/wkt';
import { Fault, type RetryPolicy, RetryPolicySchema } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';
import type { Attempt } from '../attempt.js';

/** What a request that says nothing of it gets. Times are in milliseconds. */
export const retryDefaults = { lost: 3, failed: 0, minBackoff: 1_000, maxBackoff: 300_000, ramFactor: 1 } as const;

/**
 * How often a worker may give a job back in good order without using up an attempt; from then on it counts as lost, so that a job and a
 * worker that stops at once do not fill the log.
 */
const mostGivenBack = 100;

/** Most MiB that RAM is raised to: what an offer can have. */
const mostRamMb = 2n ** 40n;

/** What ends an attempt. */
export type Ending = { readonly fault: Fault; readonly reason: string; readonly givenBack: boolean };

/** An attempt that ended, and those before it. */
type Ended = { readonly job: Job; readonly attempt: Attempt; readonly earlier: readonly Attempt[] };

/** What follows an attempt that is followed by another. */
export type Again = {
  /** Whether it uses up none of the attempts. */
  readonly free: boolean;
  /** How long the job is given to nobody, in milliseconds. */
  readonly backOffMs: number;
  /** Least RAM from then on, in MiB; 0 if unchanged. */
  readonly minRamMb: bigint;
};

/** The policy with nothing left out. */
export function resolvedRetry(given: RetryPolicy | undefined): RetryPolicy {
  const { lost, failed, minBackoff, maxBackoff, ramFactor } = retryDefaults;
  // One that is given may be beyond the default of the other.
  const most = given?.maxBackoff ? durationMs(given.maxBackoff) : undefined;
  const least = given?.minBackoff ?? durationFromMs(Math.min(minBackoff, most ?? minBackoff));
  return create(RetryPolicySchema, {
    lost: given?.lost ?? lost,
    failed: given?.failed ?? failed,
    minBackoff: least,
    maxBackoff: given?.maxBackoff ?? durationFromMs(Math.max(maxBackoff, durationMs(least))),
    ramFactor: given?.ramFactor ?? ramFactor,
  });
}

/**
 * What follows when an attempt ends in this way; undefined if no attempt does, and the job has failed. Faults of the script are followed by
 * as many as `failed` says, others by as many as `lost` says; what was given back in good order counts for neither. A job that two
 * workers have no place for is itself at fault.
 * @param chance from 0 to below 1: what the back-off is drawn with
 */
export function nextAttempt({ job, attempt, earlier }: Ended, ending: Ending, chance: number): Again | undefined {
  const { retry } = job;
  if (!retry) return undefined;
  const before = earlier.flatMap(({ ended }) => ended ?? []);
  const gaveBack = before.filter(({ givenBack }) => givenBack).length;
  if (ending.givenBack && gaveBack < mostGivenBack) return { free: true, backOffMs: 0, minRamMb: 0n };
  const tried = before.filter(({ givenBack }) => !givenBack);
  const ofScript = (fault: Fault) => fault === Fault.SCRIPT;
  const alike = tried.filter(({ fault }) => ofScript(fault) === ofScript(ending.fault)).length;
  const allowed = (ofScript(ending.fault) ? retry.failed : retry.lost) ?? 0;
  if (alike >= allowed) return undefined;
  if (ending.fault === Fault.PLACE && earlier.some((one) => isPlaceFaultElsewhere(one, attempt))) return undefined;
  return {
    free: false,
    backOffMs: backOff(retry, tried.length + 1, chance),
    minRamMb: ending.reason === 'OUT_OF_MEMORY' ? raisedRam(job, retry.ramFactor ?? 1) : 0n,
  };
}

function isPlaceFaultElsewhere(one: Attempt, { worker, workerName }: Attempt): boolean {
  return one.ended?.fault === Fault.PLACE && (one.worker !== worker || one.workerName !== workerName);
}

/**
 * How long to wait before the attempt that follows the nth one that counts, in milliseconds: the shortest time, doubled for each before it
 * and at most the longest, of which chance takes away up to a half, but not so that it is below the shortest.
 */
function backOff({ minBackoff, maxBackoff }: RetryPolicy, nth: number, chance: number): number {
  const least = minBackoff ? durationMs(minBackoff) : retryDefaults.minBackoff;
  const most = Math.max(least, maxBackoff ? durationMs(maxBackoff) : retryDefaults.maxBackoff);
  // Beyond 2^50 every one is the longest.
  const upper = Math.min(most, least * 2 ** Math.min(nth, 50));
  return Math.round(Math.max(least, upper * (0.5 + chance / 2)));
}

function raisedRam(job: Job, factor: number): bigint {
  const now = leastRamMb(job);
  if (now === 0n || !(factor > 1)) return 0n;
  const raised = BigInt(Math.ceil(Math.min(Number(now) * factor, Number(mostRamMb))));
  return raised > now ? raised : 0n;
}

/** Least RAM that a job asks of the place where it runs, in MiB; 0 if it asks for none. */
export function leastRamMb({ minima, runtimeConstraints }: Job): bigint {
  const asked = BigInt(runtimeConstraints?.minRamMbPerNode ?? 0);
  return minima && minima.ramMb > asked ? minima.ramMb : asked;
}
