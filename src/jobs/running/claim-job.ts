import type { QueueCursor, QueuedRow } from '../../../projections/read-model/queue.js';
import { isSameClaim } from '../../domain/attempt.js';
import { MemoirError, quote } from '../../domain/errors.js';
import type { JobRecord } from '../../domain/job.js';
import type { Caller } from '../caller.js';
import type { JobsContext } from '../context.js';
import type { Executed } from '../job-streams.js';
import { keyedLock } from '../keyed-lock.js';
import { waker } from '../waker.js';

/** How many places of the queue are looked at at once. */
const pageSize = 100;

/** How a worker wants to hold a job. */
export type Hold = {
  /** Length of the lease in milliseconds. */
  readonly leaseMs: number;
  /** SHA-256 of the claim token, in hexadecimal digits. */
  readonly tokenDigest: string;
  /** Whether the server made the token, since the worker sent none: then nobody can have claimed with it before. */
  readonly tokenMade: boolean;
  readonly workerName: string;
};

/** What a worker asks for. */
export type Claim = Hold & {
  /** How long to wait for a job, in milliseconds. */
  readonly waitMs: number;
  /** Repositories whose jobs the worker runs; empty for all. */
  readonly repositories: readonly string[];
};

/** A job that was claimed. */
export type Claimed = Pick<Executed, 'record' | 'position'>;

/** Claims of queued jobs. The same claim again, by its token, is answered with the same job while the attempt stands. */
export type Claims = {
  /**
   * Claims one job.
   * @throws MemoirError NOT_FOUND, or FAILED_PRECONDITION naming the state if it is not queued, or TOKEN_IN_USE if the token holds
   * another job
   */
  claim(caller: Caller, uuid: string, hold: Hold): Promise<Claimed>;
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
  const { readModel, streams, store, written, edge } = context;
  // Jobs that are queued in the read model but claimed, or being claimed, in this process.
  const taken = new Set<string>();
  // Uuids of the jobs that this process gave away and the read model may not know of yet, by the digests of their claim tokens.
  const given = new Map<string, string>();
  // So that of claims with one token at once one takes a job and the others find it.
  const serially = keyedLock();

  async function start(caller: Caller, uuid: string, hold: Hold): Promise<Executed> {
    const claimed = await streams.execute(caller, uuid, {
      kind: 'start',
      worker: caller.principal,
      tokenDigest: hold.tokenDigest,
      tokenMade: hold.tokenMade,
      workerName: hold.workerName,
      leaseMs: hold.leaseMs,
      now: edge.now(),
    });
    if (claimed.changed && !hold.tokenMade) given.set(hold.tokenDigest, uuid);
    return claimed;
  }

  async function take(caller: Caller, uuid: string, hold: Hold): Promise<Claimed | undefined> {
    taken.add(uuid);
    try {
      const claimed = await start(caller, uuid, hold);
      void release(uuid, claimed.position, hold.tokenDigest);
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

  async function release(uuid: string, position: number, tokenDigest?: string): Promise<void> {
    await readModel.waitFor(position).catch(() => undefined);
    taken.delete(uuid);
    if (tokenDigest !== undefined && given.get(tokenDigest) === uuid) given.delete(tokenDigest);
  }

  async function releaseAtEnd(uuid: string): Promise<void> {
    try {
      await release(uuid, await store.end());
    } catch {
      // The store cannot tell now; at worst the job is tried again in vain.
      taken.delete(uuid);
    }
  }

  async function takeFirst(caller: Caller, claim: Claim, signal: AbortSignal) {
    let cursor: QueueCursor | undefined;
    for (;;) {
      const places: QueuedRow[] = readModel.queue.places(cursor, pageSize, claim.repositories);
      for (const { uuid } of places) {
        if (signal.aborted) return undefined;
        const claimed = taken.has(uuid) ? undefined : await take(caller, uuid, claim);
        if (claimed) return claimed;
      }
      if (places.length < pageSize) return undefined;
      cursor = places.at(-1);
    }
  }

  /** Reads up to the end of the log, where a claim with the token may be that another server took. */
  async function seeClaims({ tokenMade }: Hold): Promise<void> {
    if (!tokenMade) await written.catchUp(await store.end());
  }

  /** The job whose standing attempt was claimed with the token by the same principal, as far as this server has seen. */
  async function standing(caller: Caller, { tokenDigest, tokenMade }: Hold): Promise<Claimed | undefined> {
    if (tokenMade) return undefined;
    const here = given.get(tokenDigest);
    for (const uuid of [...(here === undefined ? [] : [here]), ...readModel.claims.uuidsOf(tokenDigest)]) {
      const record: JobRecord | undefined = await streams.load(uuid);
      if (record && !record.deleted && isSameClaim(record, { worker: caller.principal, tokenDigest })) {
        return { record, position: await store.end() };
      }
    }
    return undefined;
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
    async claim(caller, uuid, hold) {
      await seeClaims(hold);
      return serially(hold.tokenDigest, async () => {
        const held = await standing(caller, hold);
        if (held && held.record.job.uuid !== uuid) {
          throw new MemoirError(
            'FAILED_PRECONDITION',
            'TOKEN_IN_USE',
            `the claim token holds job ${held.record.job.uuid}, not ${uuid}; make a new one for each job`,
            { field: 'claim_token', metadata: { uuid: held.record.job.uuid } },
          );
        }
        const claimed = await start(caller, uuid, hold);
        if (claimed.changed) void release(uuid, claimed.position, hold.tokenDigest);
        return claimed;
      });
    },
    async claimNext(caller, wish, signal) {
      const repositories = claimable(caller, wish.repositories);
      const until = edge.monotonic() + wish.waitMs;
      const queued = waker();
      const unsubscribe = readModel.onQueued(queued.wake);
      const claim = () =>
        serially(
          wish.tokenDigest,
          async () => (await standing(caller, wish)) ?? (await takeFirst(caller, { ...wish, repositories }, signal)),
        );
      try {
        await seeClaims(wish);
        while (!signal.aborted) {
          const claimed = await claim();
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
