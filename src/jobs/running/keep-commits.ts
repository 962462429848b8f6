import type { Logger } from 'pino';
import type { QueueCursor } from '../../../projections/read-model/queue.js';
import { MemoirError } from '../../domain/errors.js';
import type { JobsContext, JobToKeep } from '../context.js';
import { waker } from '../waker.js';

/** Keeps the commits of jobs, in the background. */
export type CommitKeeping = {
  /** Takes note of a job that was recorded; never waits and never fails. */
  requested(job: JobToKeep): void;
  /** Breaks off what is under way. What is not kept by then is when the server starts again, if the job is not finished. */
  stop(): Promise<void>;
};

/** How often, and of how many, the work is done. Times are in milliseconds. */
export type KeepingPace = {
  /** Jobs at a time: while one waits for its repository to be fetched, others go on. */
  readonly slots: number;
  /** Most jobs that wait in memory; if there are more, all unfinished jobs are looked through again. */
  readonly remembered: number;
  /** Pause after the first failure; it doubles with every further one. */
  readonly firstPause: number;
  readonly longestPause: number;
};

const defaultPace: KeepingPace = { slots: 4, remembered: 10_000, firstPause: 1_000, longestPause: 300_000 };

/** Jobs of the queue that are read at once. */
const pageSize = 100;

/** Reasons that are the same at every attempt, as a commit and a server's settings do not change. */
const hopeless = new Set([
  'UNSAFE_TREE',
  'MALFORMED_TREE',
  'TREE_TOO_LARGE',
  'KEEP_TOO_LARGE',
  'UNKNOWN_REPOSITORY',
  'BAD_COMMIT',
]);

type Failing = { readonly job: JobToKeep; readonly pause: number; readonly due: number };

/**
 * Begins to keep the commits of jobs: of those that are told, and first of all that are queued or running when the server
 * starts, as it may have ended before it came to them. What fails is tried again until the job is finished.
 */
export function keepCommits(
  { readModel, repositories, edge }: Pick<JobsContext, 'readModel' | 'repositories' | 'edge'>,
  logger: Logger,
  pace: KeepingPace = defaultPace,
): CommitKeeping {
  const ended = new AbortController();
  const fresh: JobToKeep[] = [];
  const failing: Failing[] = [];
  const wakers = new Set<ReturnType<typeof waker>>();
  let backlog: Iterator<JobToKeep> | undefined;
  let missed = false;

  function wake(): void {
    for (const one of wakers) one.wake();
  }

  /** The jobs that are not finished, as the read model has them when they are asked for. */
  function* unfinished(): Generator<JobToKeep> {
    let cursor: QueueCursor | undefined;
    for (;;) {
      const places = readModel.queue.places(cursor, pageSize);
      for (const { uuid } of places) yield* stillOpen(uuid);
      if (places.length < pageSize) break;
      cursor = places.at(-1);
    }
    // After the queue: what was claimed while that was looked through is here.
    for (const { uuid } of readModel.jobs.leases()) yield* stillOpen(uuid);
  }

  /** The job, unless it was finished or deleted. */
  function stillOpen(uuid: string): JobToKeep[] {
    const row = readModel.jobs.get(uuid);
    if (!row || row.finished_at !== null || row.cancelled_at !== null) return [];
    return [{ uuid, repository: row.repository, commit: row.script_version }];
  }

  function next(): { job: JobToKeep; pause: number } | undefined {
    const job = fresh.shift();
    if (job) return { job, pause: pace.firstPause };
    const now = edge.monotonic();
    for (let i = failing.findIndex(({ due }) => due <= now); i >= 0; i = failing.findIndex(({ due }) => due <= now)) {
      const [again] = failing.splice(i, 1);
      if (again && stillOpen(again.job.uuid).length > 0) return again;
    }
    while (backlog || missed) {
      if (!backlog) missed = false;
      backlog ??= unfinished();
      const found = backlog.next();
      if (!found.done) return { job: found.value, pause: pace.firstPause };
      backlog = undefined;
    }
    return undefined;
  }

  async function attempt(job: JobToKeep, pause: number): Promise<void> {
    const { uuid, repository, commit } = job;
    try {
      const { objects, bytes } = await repositories.keep(repository, commit, uuid, ended.signal);
      logger.debug({ uuid, repository, commit, objects, bytes }, 'commit kept');
    } catch (error) {
      if (ended.signal.aborted) return;
      const problem = error instanceof Error ? error.message : String(error);
      const facts = { uuid, repository, commit, problem };
      if (error instanceof MemoirError && hopeless.has(error.reason)) {
        logger.warn(facts, 'the commit of a job cannot be kept');
      } else if (failing.length >= pace.remembered) {
        logger.warn(facts, 'the commit of a job could not be kept; so many failed that it is left to the next start');
      } else {
        logger.warn({ ...facts, pause }, 'the commit of a job could not be kept; it is tried again');
        failing.push({ job, pause: Math.min(pause * 2, pace.longestPause), due: edge.monotonic() + pause });
        wake();
      }
    }
  }

  async function slot(): Promise<void> {
    const own = waker();
    wakers.add(own);
    while (!ended.signal.aborted) {
      try {
        const todo = next();
        if (todo) await attempt(todo.job, todo.pause);
        else await own.next(ended.signal, untilDue());
      } catch (error) {
        logger.error({ err: error }, 'the jobs whose commits are to be kept cannot be read; it is tried again');
        backlog = undefined;
        missed = true;
        await own.next(ended.signal, pace.firstPause);
      }
    }
  }

  function untilDue(): number {
    const due = failing.reduce((least, one) => Math.min(least, one.due), edge.monotonic() + pace.longestPause);
    return Math.max(1, due - edge.monotonic());
  }

  const slots = Array.from({ length: pace.slots }, slot);
  readModel.caughtUp().then(
    () => {
      missed = true;
      wake();
    },
    // The server was stopped before.
    () => undefined,
  );

  return {
    requested(job) {
      if (fresh.length < pace.remembered) fresh.push(job);
      else missed = true;
      wake();
    },
    async stop() {
      ended.abort();
      wake();
      await Promise.all(slots);
    },
  };
}
