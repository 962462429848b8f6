import type { QueueCursor, QueuedRow } from '../../../projections/read-model/queue.js';
import { MemoirError, quote } from '../../domain/errors.js';
import type { Caller } from '../caller.js';
import type { JobsContext } from '../context.js';
import type { Executed } from '../job-streams.js';
import { waker } from '../waker.js';

/** How many places of the queue are looked at at once. */
const pageSize = 100;

/** What a worker asks for. */
export type Claim = {
  /** Length of the lease in milliseconds. */
  readonly leaseMs: number;
  /** How long to wait for a job, in milliseconds. */
  readonly waitMs: number;
  /** Repositories whose jobs the worker runs; empty for all. */
  readonly repositories: readonly string[];
};

/** A job that was claimed. */
export type Claimed = Pick<Executed, 'record' | 'position'>;

/** Claims of queued jobs. */
export type Claims = {
  /**
   * Claims one job.
   * @throws MemoirError NOT_FOUND, or FAILED_PRECONDITION naming the state if it is not queued
   */
  claim(caller: Caller, uuid: string, leaseMs: number): Promise<Claimed>;
  /**
   * Claims the next job of the queue; undefined if none was queued in time or the signal aborted.
   * @throws MemoirError PERMISSION_DENIED if there is no repository among those asked for whose jobs the caller may run
   */
  claimNext(caller: Caller, claim: Claim, signal: AbortSignal): Promise<Claimed | undefined>;
};

/**
 * Makes the use case ClaimJob. Whoever appends JobStarted at the queued job's revision has it; the others go on to the next.
 */
export function jobClaims(context: JobsContext): Claims {
  const { readModel, streams, edge } = context;
  // Jobs that are queued in the read model but claimed, or being claimed, in this process.
  const taken = new Set<string>();

  function claim(caller: Caller, uuid: string, leaseMs: number): Promise<Executed> {
    return streams.execute(caller, uuid, { kind: 'start', worker: caller.principal, leaseMs, now: edge.now() });
  }

  async function take(caller: Caller, uuid: string, leaseMs: number): Promise<Claimed | undefined> {
    taken.add(uuid);
    try {
      const claimed = await claim(caller, uuid, leaseMs);
      void release(uuid, claimed.position);
      return claimed;
    } catch (error) {
      // Nobody is given it; it is not tried again while this process runs.
      if (error instanceof MemoirError && error.reason === 'PARAMETERS_TOO_DEEP') return undefined;
      // Another server was first, or it was cancelled: the read model will know soon.
      if (error instanceof MemoirError && (error.reason === 'WRONG_STATE' || error.code === 'NOT_FOUND')) {
        void releaseAtEnd(uuid);
        return undefined;
      }
      taken.delete(uuid);
      throw error;
    }
  }

  async function release(uuid: string, position: number): Promise<void> {
    await readModel.waitFor(position).catch(() => undefined);
    taken.delete(uuid);
  }

  async function releaseAtEnd(uuid: string): Promise<void> {
    try {
      await release(uuid, await context.store.end());
    } catch {
      // The store cannot tell now; at worst the job is tried again in vain.
      taken.delete(uuid);
    }
  }

  async function takeFirst(caller: Caller, { leaseMs, repositories }: Claim, signal: AbortSignal) {
    let cursor: QueueCursor | undefined;
    for (;;) {
      const places: QueuedRow[] = readModel.queue.places(cursor, pageSize, repositories);
      for (const { uuid } of places) {
        if (signal.aborted) return undefined;
        const claimed = taken.has(uuid) ? undefined : await take(caller, uuid, leaseMs);
        if (claimed) return claimed;
      }
      if (places.length < pageSize) return undefined;
      cursor = places.at(-1);
    }
  }

  /** The repositories to look for jobs of, empty for all. */
  function claimable({ access, principal }: Caller, asked: readonly string[]): readonly string[] {
    if (access.worksAll) return asked;
    const those = asked.length > 0 ? asked : context.repositories.names();
    const may = those.filter((repository) => access.works(repository));
    if (may.length > 0) return may;
    // The same whether those that were asked for are configured or not.
    throw new MemoirError(
      'PERMISSION_DENIED',
      'NOT_A_WORKER',
      `${quote(principal)} may not run jobs of ${asked.length > 0 ? 'the repositories asked for' : 'any repository'}: it has no role worker there`,
    );
  }

  return {
    claim,
    async claimNext(caller, wish, signal) {
      const repositories = claimable(caller, wish.repositories);
      const until = edge.monotonic() + wish.waitMs;
      const queued = waker();
      const unsubscribe = readModel.onQueued(queued.wake);
      try {
        while (!signal.aborted) {
          const claimed = await takeFirst(caller, { ...wish, repositories }, signal);
          if (claimed) return claimed;
          const left = until - edge.monotonic();
          if (left <= 0) return undefined;
          await queued.next(signal, left);
        }
        return undefined;
      } finally {
        unsubscribe();
      }
    },
  };
}
