import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { durationFromMs, durationMs } from '@bufbuild/protobuf/wkt';
import { makeClaimToken } from '../domain/claim-token.js';
import { CallError } from '../rpc/call-error.js';
import { serverVersion } from '../version.js';
import { unwellWorker } from './health.js';
import type { Pool } from './pool/pool.js';
import { isTransient } from './retry.js';
import { workPlace } from './run-failure.js';
import { type ClaimedJob, type RunContext, runJob } from './run-job.js';
import { type PreparedRun, prepareRun } from './run-script.js';

/** How a worker works. */
export type WorkerSettings = RunContext & {
  /** Most jobs to run at a time. */
  readonly jobs: number;
  /** What it has, of which it offers what is free. */
  readonly pool: Pool;
  /** Names of the repositories whose jobs it runs; empty for all. */
  readonly claims: readonly string[];
  /** Whether to end when the queue is empty. */
  readonly once: boolean;
  readonly leaseMs: number;
  /** What it calls itself beside its principal. */
  readonly name: string;
  /** How long running jobs may go on after the worker was told to end, in milliseconds. */
  readonly drainMs: number;
};

/** How long one claim waits for a job, in milliseconds. */
const claimWaitMs = 30_000;

/** How long `once` waits for a server that is not there, or for places that are not well, in milliseconds. */
const onceWaitMs = 10_000;

/** Does one thing after the other. */
type Turns = <T>(work: () => Promise<T>) => Promise<T>;

/**
 * Claims jobs and runs them, until `draining` aborts or, with `once`, the queue is empty. Then no job is claimed any more, and
 * those that run may end until the drain time is over.
 * @throws CallError if the server refuses claims, with `once` MemoirError PLACE_FAULT if the worker's places are not well; running jobs end
 * before
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
    // One claim at a time, each after a look at the places: when a place breaks, one job at most is taken for nothing.
    const inTurn = turns();
    const slots = Array.from({ length: settings.jobs }, (_, i) =>
      slot(settings, join(settings.workDirectory, String(i + 1)), inTurn, enough, stopped.signal),
    );
    for (const one of slots) one.catch(() => failed.abort());
    const ends = await Promise.allSettled(slots);
    for (const end of ends) if (end.status === 'rejected') throw end.reason;
  } finally {
    draining.removeEventListener('abort', drain);
    clearTimeout(timer);
  }
}

/** Runs one job after the other, each in the same directory. */
async function slot(
  settings: WorkerSettings,
  directory: string,
  inTurn: Turns,
  enough: AbortSignal,
  stopped: AbortSignal,
): Promise<void> {
  while (!enough.aborted) {
    const next = await inTurn(() => nextRun(settings, directory, enough));
    if (next) {
      await runJob(settings, next, next.run, stopped).finally(next.release);
    } else if (settings.once) return;
  }
}

type NextRun = ClaimedJob & { readonly run: PreparedRun; readonly release: () => void };

/** The next job, and a run prepared for it; undefined if there is none in time, or if it is enough. */
async function nextRun(settings: WorkerSettings, directory: string, enough: AbortSignal): Promise<NextRun | undefined> {
  const { claims, once, edge, health } = settings;
  const started = edge.monotonic();
  for (;;) {
    const ready = await readyRun(settings, directory, enough);
    if (!ready) return undefined;
    const { run, repositories } = ready;
    let claimed: Awaited<ReturnType<typeof claim>>;
    try {
      claimed = await claim(settings, repositories, enough);
      return claimed && { ...claimed, run, release: settings.pool.take(claimed.job) };
    } catch (error) {
      // Of those that are well it may run no job, and may of those that are not: it waits for them.
      if (!isNoWorker(error) || repositories.length === claims.length) throw error;
    } finally {
      if (!claimed) await run.remove().catch((error: unknown) => health.fault(workPlace, error));
    }
    if (once && edge.monotonic() - started > onceWaitMs) throw unwellWorker();
    await health.wait(enough);
  }
}

function isNoWorker(error: unknown): boolean {
  return error instanceof CallError && error.reason === 'NOT_A_WORKER';
}

/** Waits until the worker's places are well, and prepares a run. Undefined if it is enough. */
async function readyRun(
  { health, claims, once, edge, workDirectory, pipes, secrets }: WorkerSettings,
  directory: string,
  enough: AbortSignal,
): Promise<{ readonly run: PreparedRun; readonly repositories: readonly string[] } | undefined> {
  const started = edge.monotonic();
  let doubted = false;
  while (!enough.aborted) {
    const { well, unwell } = await health.check();
    const repositories = claims.filter((name) => !unwell.has(name));
    // No names mean all repositories, so none may be left out then.
    if (well && (claims.length === 0 ? unwell.size === 0 : repositories.length > 0)) {
      try {
        const aside = join(workDirectory, `left-${edge.uuid()}`);
        return { run: await prepareRun(directory, aside, pipes, secrets?.directory), repositories };
      } catch (error) {
        // A probe may mend it, as where somebody removed the directory.
        if (doubted) health.fault(workPlace, error);
        else health.doubt();
        doubted = !doubted;
        if (doubted) continue;
      }
    }
    if (once && edge.monotonic() - started > onceWaitMs) throw unwellWorker();
    await health.wait(enough);
  }
  return undefined;
}

function turns(): Turns {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const mine = last.then(work);
    last = mine.catch(() => {});
    return mine;
  };
}

/**
 * The next job; undefined if there is none in time, or if it is enough. A claim that was not answered is repeated with its token, so
 * that a job which the server gave away in the answer that got lost is the one that it gives again.
 */
async function claim(
  settings: WorkerSettings,
  repositories: readonly string[],
  enough: AbortSignal,
): Promise<ClaimedJob | undefined> {
  const { worker, once, leaseMs, name, pool, edge, logger } = settings;
  const claimToken = makeClaimToken(edge.uuid);
  const started = edge.monotonic();
  for (let pause = 200; !enough.aborted; pause = Math.min(pause * 2, 5_000)) {
    // A job that ended gives room for others: what waits is asked for again, with the same token.
    const grown = pool.grown();
    try {
      const asked = edge.monotonic();
      const { job, lease, interested } = await worker.claimJob(
        {
          wait: durationFromMs(once ? 0 : claimWaitMs),
          lease: durationFromMs(leaseMs),
          repositories: [...repositories],
          claimToken,
          workerName: name,
          offer: pool.free(),
          total: pool.total,
          host: hostname(),
          version: serverVersion,
        },
        { signal: AbortSignal.any([enough, grown]), timeoutMs: claimWaitMs + 30_000 },
      );
      if (job) return { job, leaseMs: lease ? durationMs(lease) : leaseMs, claimToken, interested };
      if (once) return undefined;
      // A server that does not wait as it was asked is not asked in a tight circle.
      if (edge.monotonic() - asked < pause) await sleep(pause, undefined, { signal: enough }).catch(() => {});
      return undefined;
    } catch (error) {
      if (enough.aborted) return undefined;
      if (grown.aborted) continue;
      if (!isTransient(error) || (once && edge.monotonic() - started > onceWaitMs)) throw error;
      logger.warn({ why: (error as Error).message }, 'the server cannot be reached; trying again');
      await sleep(pause, undefined, { signal: enough }).catch(() => {});
    }
  }
  return undefined;
}
