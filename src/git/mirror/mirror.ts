import { join } from 'node:path';
import { MemoirError, messageOf, quote } from '../../domain/errors.js';
import { makeDirectory } from '../../make-directory.js';
import { startThread, type Thread, ThreadEnded } from '../../threads/thread.js';
import { fileKind } from '../file-kind.js';
import type { HistoryLog } from '../graph/history.js';
import { errno } from '../problem.js';
import type { MirrorSource, MirrorThread } from './mirror-thread.js';

/** A copy of a remote repository. */
export type Mirror = {
  /**
   * Path of a repository that has what the remote had not longer ago than allowed. Callers at the same time share one fetch.
   * @throws MemoirError UNAVAILABLE MIRROR_UNAVAILABLE if it could not be fetched
   */
  fresh(): Promise<string>;
  /** Path of the repository as it was fetched last, whenever that was; undefined if never. */
  fetched(): string | undefined;
  close(): Promise<void>;
};

/** When to fetch, and for how long to try. */
export type MirrorTimes = {
  /** How long what was fetched counts as fresh, in milliseconds. */
  readonly refreshAfter: number;
  /** How old it may be if it cannot be fetched, in milliseconds; 0 for never. */
  readonly acceptStale: number;
  /** How long one fetch may take, in milliseconds. */
  readonly deadline: number;
};

/** A mirror, of which nothing is fetched yet by this process. */
export function createMirror(
  source: MirrorSource,
  { refreshAfter, acceptStale, deadline }: MirrorTimes,
  monotonic: () => number,
  log: HistoryLog,
): Mirror {
  const { name, directory } = source;
  const served = join(directory, 'served.git');
  let thread: Thread<MirrorThread> | undefined;
  let fetching: Promise<void> | undefined;
  /** When the last fetch that succeeded began: what it brought is as old as that. */
  let asOf = Number.NEGATIVE_INFINITY;
  let closed = false;

  const unavailable = (problem: string) =>
    new MemoirError('UNAVAILABLE', 'MIRROR_UNAVAILABLE', `repository ${quote(name)} cannot be fetched: ${problem}`, {
      metadata: { repository: name },
    });

  /** The log is told what brought it about, too: that may name paths of this machine. */
  function notFetched(problem: string, cause: unknown): MemoirError {
    const error = unavailable(problem);
    const because = cause === undefined ? {} : { cause: messageOf(cause) };
    log.warn({ repository: name, problem: error.message, ...because }, 'mirror not fetched');
    return error;
  }

  async function fetchOnce(): Promise<void> {
    const begun = monotonic();
    try {
      makeDirectory(directory);
    } catch (error) {
      throw notFetched(`its mirror cannot be written: ${errno(error)}`, error);
    }
    const file = new URL('./mirror-thread.js', import.meta.url);
    const started = startThread<MirrorThread>(file, undefined, { name: 'the fetch' });
    thread = started;
    let timer: NodeJS.Timeout | undefined;
    try {
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error(`it takes longer than ${deadline} ms`)), deadline);
      });
      const refs = await Promise.race([started.call.fetch(source), late]);
      asOf = begun;
      log.info({ repository: name, refs, milliseconds: Math.round(monotonic() - begun) }, 'mirror fetched');
    } catch (error) {
      throw notFetched(problemOf(error), (error as Error).cause);
    } finally {
      clearTimeout(timer);
      thread = undefined;
      await started.terminate();
    }
  }

  return {
    fetched: () => (fileKind(join(served, 'packed-refs')) ? served : undefined),
    async fresh() {
      if (closed) throw unavailable('it is closed');
      if (monotonic() - asOf <= refreshAfter) return served;
      fetching ??= fetchOnce().finally(() => {
        fetching = undefined;
      });
      try {
        await fetching;
      } catch (error) {
        if (acceptStale === 0 || monotonic() - asOf > acceptStale) throw error;
      }
      return served;
    },
    async close() {
      closed = true;
      await thread?.terminate();
      await fetching?.catch(() => undefined);
    },
  };
}

/** What a caller is told of a failed fetch. */
function problemOf(error: unknown): string {
  return error instanceof ThreadEnded ? 'the fetch was ended' : messageOf(error);
}
