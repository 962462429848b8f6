import { setTimeout as sleep } from 'node:timers/promises';
import { durationFromMs, durationMs } from '@bufbuild/protobuf/wkt';
import type { Job } from '../../gen/memoir/jobs/v1/job_pb.js';
import { isTransient } from './retry.js';
import { type RunContext, runJob } from './run-job.js';

/** How a worker works. */
export type WorkerSettings = RunContext & {
  /** How many jobs to run at a time. */
  readonly jobs: number;
  /** Names of the repositories whose jobs it runs; empty for all. */
  readonly claims: readonly string[];
  /** Whether to end when the queue is empty. */
  readonly once: boolean;
  readonly leaseMs: number;
  /** How long running jobs may go on after the worker was told to end, in milliseconds. */
  readonly drainMs: number;
};

/** How long one claim waits for a job, in milliseconds. */
const claimWaitMs = 30_000;

/** How long `once` waits for a server that is not there, in milliseconds. */
const onceWaitMs = 10_000;

/**
 * Claims jobs and runs them, until `draining` aborts or, with `once`, the queue is empty. Then no job is claimed any more, and
 * those that run may end until the drain time is over.
 * @throws CallError if the server refuses claims; running jobs end before
 */
export async function work(settings: WorkerSettings, draining: AbortSignal): Promise<void> {
  const stopped = new AbortController();
  const failed = new AbortController();
  const enough = AbortSignal.any([draining, failed.signal]);
  let timer: NodeJS.Timeout | undefined;
  const drain = () => {
    timer = setTimeout(() => stopped.abort(), settings.drainMs);
  };
  if (draining.aborted) drain();
  else draining.addEventListener('abort', drain, { once: true });
  try {
    const slots = Array.from({ length: settings.jobs }, () => slot(settings, enough, stopped.signal));
    for (const one of slots) one.catch(() => failed.abort());
    const ends = await Promise.allSettled(slots);
    for (const end of ends) if (end.status === 'rejected') throw end.reason;
  } finally {
    draining.removeEventListener('abort', drain);
    clearTimeout(timer);
  }
}

/** Runs one job after the other. */
async function slot(settings: WorkerSettings, enough: AbortSignal, stopped: AbortSignal): Promise<void> {
  while (!enough.aborted) {
    const claimed = await claim(settings, enough);
    if (claimed) await runJob(settings, claimed.job, claimed.leaseMs, stopped);
    else if (settings.once) return;
  }
}

/** The next job; undefined if there is none in time, or if it is enough. */
async function claim(
  settings: WorkerSettings,
  enough: AbortSignal,
): Promise<{ job: Job; leaseMs: number } | undefined> {
  const { worker, once, leaseMs, edge, logger } = settings;
  const started = edge.monotonic();
  for (let pause = 200; !enough.aborted; pause = Math.min(pause * 2, 5_000)) {
    try {
      const asked = edge.monotonic();
      const { job, lease } = await worker.claimJob(
        {
          wait: durationFromMs(once ? 0 : claimWaitMs),
          lease: durationFromMs(leaseMs),
          repositories: [...settings.claims],
        },
        { signal: enough, timeoutMs: claimWaitMs + 30_000 },
      );
      if (job) return { job, leaseMs: lease ? durationMs(lease) : leaseMs };
      if (once) return undefined;
      // A server that does not wait as it was asked is not asked in a tight circle.
      if (edge.monotonic() - asked < pause) await sleep(pause, undefined, { signal: enough }).catch(() => {});
      return undefined;
    } catch (error) {
      if (enough.aborted) return undefined;
      if (!isTransient(error) || (once && edge.monotonic() - started > onceWaitMs)) throw error;
      logger.warn({ why: (error as Error).message }, 'the server cannot be reached; trying again');
      await sleep(pause, undefined, { signal: enough }).catch(() => {});
    }
  }
  return undefined;
}
