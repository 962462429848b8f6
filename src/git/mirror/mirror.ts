import { join } from 'node:path';
import { LRUCache } from 'lru-cache';
import { MemoirError, messageOf, quote } from '../../domain/errors.js';
import type { Edge } from '../../edge.js';
import { makeDirectory } from '../../make-directory.js';
import { startThread, type Thread, ThreadEnded } from '../../threads/thread.js';
import { fileKind } from '../file-kind.js';
import type { HistoryLog } from '../graph/history.js';
import { errno } from '../problem.js';
import type { FetchProgress, MirrorSource } from './fetch-mirror.js';
import type { MirrorThread } from './mirror-thread.js';
import { mayPrune } from './prune-mirror.js';

/** A copy of a remote repository. */
export type Mirror = {
  /**
   * Path of a repository that has what the remote had not longer ago than allowed. Callers at the same time share one fetch.
   * @throws MemoirError UNAVAILABLE MIRROR_UNAVAILABLE if it could not be fetched; MIRROR_FETCHING, with how far that is, if it takes
   * longer than callers wait; it goes on
   */
  fresh(): Promise<string>;
  /** Path of the repository as it was fetched last, whenever that was; undefined if never. */
  fetched(): string | undefined;
  /** Takes note that a commit was named by somebody, who may make a job of it. */
  named(commit: string): void;
  close(): Promise<void>;
};

/** When to fetch, and for how long to try. */
export type MirrorTimes = {
  /** How long what was fetched counts as fresh, in milliseconds. */
  readonly refreshAfter: number;
  /** How old it may be if it cannot be fetched, in milliseconds; 0 for never. */
  readonly acceptStale: number;
  /** How long it may take until the remote has said what it has, in milliseconds. What is new may take longer, while it comes. */
  readonly deadline: number;
  /** How long a caller waits for a fetch, in milliseconds. */
  readonly patience: number;
  /** How long what no ref of the remote reaches any more stays, in milliseconds. */
  readonly keepUnreachable: number;
  /** How long after a look for that the next one is, in milliseconds. */
  readonly pruneEvery: number;
};

/** What a mirror takes from what is around it. */
export type MirrorSurroundings = {
  readonly edge: Pick<Edge, 'now' | 'monotonic'>;
  readonly log: HistoryLog;
  /** Full hashes of the commits of all jobs of the repository; undefined if that cannot be told now, so that nothing may be removed. */
  readonly commitsOfJobs: () => Promise<readonly string[] | undefined>;
};

/** How often the progress of a fetch goes to the log, in milliseconds. */
const logEvery = 5_000;

/** How long the thread is kept after a fetch, in milliseconds: the next one is sooner done by it. */
const keptFor = 60_000;

/** How many of the commits that were named lately are remembered, and how long, in milliseconds: until a job that is made of one is known. */
const [mostNamed, namedFor] = [100_000, 3_600_000] as const;

/** A mirror, of which nothing is fetched yet by this process. */
export function createMirror(
  source: Omit<MirrorSource, 'now'>,
  { refreshAfter, acceptStale, deadline, patience, keepUnreachable, pruneEvery }: MirrorTimes,
  { edge, log, commitsOfJobs }: MirrorSurroundings,
): Mirror {
  const monotonic = () => edge.monotonic();
  const { name, directory } = source;
  const served = join(directory, 'served.git');
  let thread: Thread<MirrorThread> | undefined;
  let idle: NodeJS.Timeout | undefined;
  let fetching: Promise<void> | undefined;
  let progress: FetchProgress | undefined;
  /** When the last fetch that succeeded began: what it brought is as old as that. */
  let asOf = Number.NEGATIVE_INFINITY;
  let closed = false;
  let pruning: Promise<void> | undefined;
  let lookedAt = Number.NEGATIVE_INFINITY;
  /** Commits that may be those of jobs which are being made. */
  const lately = new LRUCache<string, true>({ max: mostNamed, ttl: namedFor, perf: { now: monotonic } });

  const unavailable = (problem: string) =>
    new MemoirError('UNAVAILABLE', 'MIRROR_UNAVAILABLE', `repository ${quote(name)} cannot be fetched: ${problem}`, {
      metadata: { repository: name },
    });

  const tooSlow = () =>
    new MemoirError(
      'UNAVAILABLE',
      'MIRROR_FETCHING',
      `repository ${quote(name)} is being fetched: ${howFar(progress)}; try again later`,
      { metadata: { repository: name, ...factsOf(progress) } },
    );

  /** The log is told what brought it about, too: that may name paths of this machine. */
  function notFetched(problem: string, cause: unknown): MemoirError {
    const error = unavailable(problem);
    const because = cause === undefined ? {} : { cause: messageOf(cause) };
    log.warn({ repository: name, problem: error.message, ...because }, 'mirror not fetched');
    return error;
  }

  function living(): Thread<MirrorThread> {
    clearTimeout(idle);
    if (!thread?.alive()) {
      const file = new URL('./mirror-thread.js', import.meta.url);
      thread = startThread<MirrorThread>(file, undefined, { name: 'the fetch' });
    }
    return thread;
  }

  /** Removes what has been unreachable for long, if it is time for that. Whatever goes wrong, nothing is amiss but room. */
  async function pruneIfDue(started: Thread<MirrorThread>): Promise<void> {
    if (monotonic() - lookedAt < pruneEvery) return;
    lookedAt = monotonic();
    const lostBefore = edge.now() - keepUnreachable;
    try {
      if (!mayPrune(source, lostBefore)) return;
      const commits = await commitsOfJobs();
      if (!commits || closed) return;
      const staying = { commits: [...commits, ...lately.keys()], lostBefore };
      const pruned = await started.call.prune({ source, staying });
      log.info({ repository: name, ...pruned }, 'unreachable objects removed from mirror');
    } catch (error) {
      log.warn({ repository: name, problem: messageOf(error) }, 'unreachable objects stay in mirror');
    }
  }

  async function fetchOnce(): Promise<void> {
    await pruning;
    if (closed) throw unavailable('it is closed');
    const begun = monotonic();
    try {
      makeDirectory(directory);
    } catch (error) {
      throw notFetched(`its mirror cannot be written: ${errno(error)}`, error);
    }
    const started = living();
    progress = undefined;
    let logged = monotonic();
    let timer: NodeJS.Timeout | undefined;
    const onTold = (told: FetchProgress) => {
      progress = told;
      clearTimeout(timer);
      if (monotonic() - logged < logEvery) return;
      logged = monotonic();
      log.info({ repository: name, ...told }, 'fetching mirror');
    };
    try {
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error(`it takes longer than ${deadline} ms`)), deadline);
      });
      const fetched = await Promise.race([started.call.fetch({ ...source, now: edge.now() }, { onTold }), late]);
      asOf = begun;
      log.info({ repository: name, ...fetched, milliseconds: Math.round(monotonic() - begun) }, 'mirror fetched');
      pruning = pruneIfDue(started).finally(() => {
        pruning = undefined;
        if (!closed) idle = setTimeout(() => void started.close(), keptFor).unref();
      });
    } catch (error) {
      await started.terminate();
      throw notFetched(problemOf(error), (error as Error).cause);
    } finally {
      clearTimeout(timer);
    }
  }

  /** What a caller waits for. */
  async function inTime(work: Promise<void>): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(tooSlow()), patience);
    });
    try {
      await Promise.race([work, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  function begin(): Promise<void> {
    if (!fetching) {
      fetching = fetchOnce().finally(() => {
        fetching = undefined;
      });
      // Nobody may wait for it any more when it fails; the log has it.
      fetching.catch(() => undefined);
    }
    return fetching;
  }

  return {
    fetched: () => (fileKind(join(served, 'packed-refs')) ? served : undefined),
    named: (commit) => void lately.set(commit, true),
    async fresh() {
      if (closed) throw unavailable('it is closed');
      if (monotonic() - asOf <= refreshAfter) return served;
      try {
        await inTime(begin());
      } catch (error) {
        if (acceptStale === 0 || monotonic() - asOf > acceptStale) throw error;
      }
      return served;
    },
    async close() {
      closed = true;
      clearTimeout(idle);
      await thread?.terminate();
      await fetching?.catch(() => undefined);
      await pruning;
    },
  };
}

/** What a caller is told of a failed fetch. */
function problemOf(error: unknown): string {
  return error instanceof ThreadEnded ? 'the fetch was ended' : messageOf(error);
}

function howFar(progress: FetchProgress | undefined): string {
  if (!progress) return 'it has not said yet what it has';
  if (progress.step === 'listed') return `it has ${progress.refs} refs, and nothing has come yet`;
  if (progress.step === 'receiving') {
    const { bytes, said } = progress;
    return `${bytes} bytes have come${said === undefined ? '' : `, and it says ${said}`}`;
  }
  const { step, done, all } = progress;
  return `${done} of ${all} ${step} were ${step === 'objects' ? 'looked through' : 'resolved'}`;
}

function factsOf(progress: FetchProgress | undefined): Record<string, string> {
  return Object.fromEntries(Object.entries(progress ?? {}).map(([key, value]) => [key, String(value)]));
}
