import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { MemoirError, quote } from '../../domain/errors.js';
import { fileKind } from '../file-kind.js';
import type { HistoryLog } from '../graph/history.js';
import { errno } from '../problem.js';
import type { MirrorThreadData, MirrorThreadMessage } from './mirror-protocol.js';

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
  data: MirrorThreadData,
  { refreshAfter, acceptStale, deadline }: MirrorTimes,
  monotonic: () => number,
  log: HistoryLog,
): Mirror {
  const { name, directory } = data;
  const served = join(directory, 'served.git');
  let thread: Worker | undefined;
  let fetching: Promise<void> | undefined;
  /** When the last fetch that succeeded began: what it brought is as old as that. */
  let asOf = Number.NEGATIVE_INFINITY;
  let closed = false;

  const unavailable = (problem: string) =>
    new MemoirError('UNAVAILABLE', 'MIRROR_UNAVAILABLE', `repository ${quote(name)} cannot be fetched: ${problem}`, {
      metadata: { repository: name },
    });

  async function fetchOnce(): Promise<void> {
    const begun = monotonic();
    try {
      mkdirSync(directory, { recursive: true });
    } catch (error) {
      log.warn({ repository: name, problem: String(error) }, 'mirror not fetched');
      throw unavailable(`its mirror cannot be written: ${errno(error)}`);
    }
    const started = new Worker(new URL('./mirror-thread.js', import.meta.url), { workerData: data });
    thread = started;
    let timer: NodeJS.Timeout | undefined;
    try {
      const message = await new Promise<MirrorThreadMessage>((resolve, reject) => {
        timer = setTimeout(() => reject(unavailable(`it takes longer than ${deadline} ms`)), deadline);
        started.on('message', resolve);
        started.on('error', (error) => reject(unavailable(String(error))));
        started.on('exit', () => reject(unavailable('the fetch was ended')));
      });
      if (message.kind === 'failed') throw unavailable(message.problem);
      asOf = begun;
      log.info(
        { repository: name, refs: message.refs, milliseconds: Math.round(monotonic() - begun) },
        'mirror fetched',
      );
    } catch (error) {
      log.warn(
        { repository: name, problem: error instanceof Error ? error.message : String(error) },
        'mirror not fetched',
      );
      throw error;
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
