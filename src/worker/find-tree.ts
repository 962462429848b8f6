import { setTimeout as sleep } from 'node:timers/promises';
import { Fault } from '../../gen/memoir/jobs/v1/attempt_pb.js';
import type { Job } from '../../gen/memoir/jobs/v1/job_pb.js';
import { MemoirError, quote } from '../domain/errors.js';
import { findKept } from '../git/kept/kept-repository.js';
import { RunFailure } from './run-failure.js';

/** How long a job waits for its commit to be kept where the worker has no repository for it, in milliseconds. */
const longestWait = 300_000;

/** Longest time between two looks, in milliseconds. */
const longestPause = 2_000;

/** Where the trees of jobs are taken from. */
export type TreePlaces = {
  /** Directories of the local repositories by name. */
  readonly repositories: Readonly<Record<string, { readonly path: string }>>;
  /** Directory where a server keeps the commits of jobs; undefined if there is none. */
  readonly kept: string | undefined;
};

/**
 * The directory of the repository to take a job's tree from: where its commit is kept if it is, else its own. A commit is kept
 * some time after the job was recorded; if the worker has no repository of its own for the job, that is waited for.
 * @throws RunFailure UNKNOWN_REPOSITORY, COMMIT_NOT_KEPT, or the reason for which what is kept cannot be read; the signal's
 * reason if that aborts
 */
export async function findTree(
  { uuid, repository, scriptVersion }: Pick<Job, 'uuid' | 'repository' | 'scriptVersion'>,
  { repositories, kept }: TreePlaces,
  signal: AbortSignal,
  waitMs = longestWait,
): Promise<string> {
  const own = Object.hasOwn(repositories, repository) ? repositories[repository] : undefined;
  if (kept === undefined) {
    if (own) return own.path;
    throw new RunFailure('UNKNOWN_REPOSITORY', `the worker has no repository ${quote(repository)}`, Fault.PLACE);
  }
  const until = performance.now() + waitMs;
  for (let pause = 50; ; pause = Math.min(pause * 2, longestPause)) {
    const path = find(kept) ?? own?.path;
    if (path !== undefined) return path;
    const left = until - performance.now();
    if (left <= 0) {
      const what = `commit ${scriptVersion} of repository ${quote(repository)}, which the worker does not have`;
      throw new RunFailure('COMMIT_NOT_KEPT', `${what}, was not kept in ${waitMs / 1_000} s`, Fault.PLACE);
    }
    await sleep(Math.min(pause, left), undefined, { signal }).catch(() => {});
    signal.throwIfAborted();
  }

  function find(root: string): string | undefined {
    try {
      return findKept(root, repository, uuid, scriptVersion);
    } catch (error) {
      // What is kept is damaged; the repository itself may not be.
      if (own) return undefined;
      if (error instanceof MemoirError) throw new RunFailure(error.reason, error.message);
      throw error;
    }
  }
}
