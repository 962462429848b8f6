import type { Logger } from 'pino';
import { ContentLossReason } from '../../../gen/memoir/events/v1/events_pb.js';
import type { Digest } from '../../../gen/memoir/jobs/v1/digest_pb.js';
import type { ContentRow } from '../../../projections/read-model/content/content.js';
import type { LocalContent, Sweep } from '../../content/local-content.js';
import type { Removed } from '../../content/sweep-blobs.js';
import { MemoirError } from '../../domain/errors.js';
import { addressOf } from '../../domain/outputs/digest.js';
import { type Caller, serverItself } from '../caller.js';
import type { JobsContext } from '../context.js';
import { keyedLock } from '../keyed-lock.js';
import { type Sweeping, sweepEvery } from '../running/sweeping.js';
import { digestOf, type Erased, emptied, eraseContent, inBatches } from './erase-content.js';
import type { HeldContent } from './held-content.js';
import { passedTime, toldAhead } from './passed-time.js';
import { type Lost, recordLost } from './record-content.js';
import { type Retained, retained } from './retained.js';

/** How often the server sweeps by itself, in milliseconds. */
const sweepsEvery = 3_600_000;

/** Roots that the thread which keeps blobs is told of at once, and losses that are recorded at once. */
const atOnce = 64;

/** How long what servers keep stays. */
export type RetentionOptions = {
  /** How long what nobody asked to stay stays, in milliseconds; undefined for ever. */
  readonly keep: number | undefined;
  /** Most bytes of all that is kept, and of what the jobs of one principal left; undefined for any. */
  readonly quota: number | undefined;
  readonly quotaByPrincipal: number | undefined;
};

/** What a sweep took away, or would. */
export type Swept = Removed & {
  readonly evicted: readonly string[];
  readonly kept: number;
  /** How far the wall clock is ahead of the time that the sweep went by, in milliseconds. */
  readonly ahead: number;
};

/** What a look through everything found. */
export type Verified = {
  readonly lookedAt: number;
  readonly lost: readonly { readonly address: string; readonly detail: string }[];
  readonly newlyLost: number;
  readonly found: number;
};

/** How something that goes on for long is watched. */
export type Watching<Progress> = {
  /** Ends it between two steps when it aborts. */
  readonly signal?: AbortSignal;
  readonly tell?: (progress: Progress) => void;
};

/** How far a sweep is. */
export type SweepProgress = {
  /** Outputs and logs of which it is settled whether they stay, of so many. */
  readonly lookedAt: number;
  readonly total: number;
  /** Blobs that were looked at after that. */
  readonly blobsLookedAt: number;
  /** What went, or would go, since it was told before. */
  readonly evicted: readonly string[];
};

/** How far a look through everything is. */
export type VerifyProgress = Omit<Verified, 'lost'> & {
  readonly total: number;
  /** What is lost, as far as it was found since it was told before. */
  readonly lost: Verified['lost'];
};

/** How long what servers keep stays, and what takes it away. */
export type Retention = {
  /** Takes away what nothing keeps; with `dry` it only tells. @throws MemoirError UNAVAILABLE while the log or the store cannot be read */
  sweep(dry: boolean, watching?: Watching<SweepProgress>): Promise<Swept>;
  /** Looks whether all that is kept is whole, and records what is lost and what is found. */
  verify(watching?: Watching<VerifyProgress>): Promise<Verified>;
  /** Takes content away for good; of a tree also what is below and nothing else needs. @throws MemoirError INVALID_ARGUMENT for what is no address, NOT_FOUND if nothing has it */
  erase(caller: Caller, address: string, reason: string): Promise<Erased>;
  /** What is kept, as jobs keep it. */
  retained(): Promise<readonly Retained[]>;
};

/** How the steps of a sweep go on. */
type Steps = {
  step<T>(items: readonly T[], work: (batch: readonly T[]) => Promise<void>): Promise<void>;
  /** Of so many more it is settled whether they stay. */
  settled(count: number): void;
};

/** Makes it. */
export function contentRetention(
  context: JobsContext,
  local: LocalContent | undefined,
  held: HeldContent,
  { keep, quota, quotaByPrincipal }: RetentionOptions,
): Retention {
  const { store, readModel, written, edge } = context;
  const serially = keyedLock();
  const time = passedTime(edge);

  /** What is kept, by all of the log. */
  async function all(): Promise<readonly Retained[]> {
    if (!readModel.progress().live) throw behind();
    await written.catchUp(await store.end());
    const those = await retained(readModel, keep, time.now());
    if (store.exclusive) return those;
    const isReached = await held.reaches();
    return those.filter(({ row }) => isReached(row));
  }

  /** Has what is kept stay, as far as there is room; gives what does not. `done` is told how many are settled. */
  async function keepAll(sweep: Sweep, those: readonly Retained[], { step, settled }: Steps): Promise<Retained[]> {
    const bounded = quota !== undefined || quotaByPrincipal !== undefined;
    const fast = those.filter((one) => one.kept && (one.fast || !bounded));
    await step(fast, async (batch) => {
      await sweep.keep(batch.map(({ root }) => root));
      settled(batch.length);
    });
    const going = those.filter(({ kept }) => !kept);
    if (!bounded) return going;
    // Who is held has its place before others.
    const room = { whole: quota ?? Number.POSITIVE_INFINITY, each: quotaByPrincipal ?? Number.POSITIVE_INFINITY };
    const rest = those.filter((one) => one.kept && !one.fast).sort((a, b) => b.askedAt - a.askedAt);
    await step(rest, async (batch) => {
      const stays = await sweep.keepWithin(
        batch.map(({ root, owner }) => ({ ...root, of: owner })),
        room,
      );
      const goes = batch.filter((_, i) => !stays[i]);
      going.push(...goes);
      settled(batch.length - goes.length);
    });
    return going;
  }

  async function sweepNow(dry: boolean, { signal, tell }: Watching<SweepProgress>): Promise<Swept> {
    const content = needed(local);
    const { sweep } = content;
    const { id: storeId, marked } = await content.identity();
    if (!marked) throw emptied(storeId);
    // Begun before the log is read: who comes later holds what it needs from then on.
    await sweep.begin();
    const those = await all();
    const evicted: string[] = [];
    let lookedAt = 0;
    let toldEvicted = 0;
    const told = (blobsLookedAt = 0) => {
      tell?.({ lookedAt, total: those.length, blobsLookedAt, evicted: evicted.slice(toldEvicted) });
      toldEvicted = evicted.length;
    };
    const settled = (count: number) => {
      lookedAt += count;
      told();
    };
    const step: Steps['step'] = (items, work) => inBatches(items, atOnce, work, signal);
    told();
    const notKept = await keepAll(sweep, those, { step, settled });
    const going = notKept.filter(({ lost }) => !lost);
    settled(notKept.length - going.length);
    const unheld: Retained[] = [];
    await step(going, async (batch) => {
      const free = await sweep.unheld(batch.map(({ root }) => root));
      const goes = batch.filter((_, i) => free[i]);
      unheld.push(...goes);
      await sweep.keep(batch.filter((_, i) => !free[i]).map(({ root }) => root));
      settled(batch.length - goes.length);
    });
    // One of them may be a part of another that somebody holds.
    const evictable: Retained[] = [];
    await step(unheld, async (batch) => {
      const free = await sweep.unheld(batch.map(({ root }) => root));
      const goes = batch.filter((_, i) => free[i]);
      evictable.push(...goes);
      settled(batch.length - goes.length);
    });
    await step(evictable, async (batch) => {
      if (dry) {
        await sweep.count(batch.map(({ root }) => root));
        evicted.push(...batch.map(({ row }) => addressOf(row)));
      } else {
        await Promise.all(batch.map((one) => lose(one.row, storeId)));
        for (const { root, row } of batch) {
          if (await sweep.evict(root)) evicted.push(addressOf(row));
          else {
            await sweep.keep([root]);
            await held.find(digestOf(row));
          }
        }
      }
      settled(batch.length);
    });
    const removed = await sweep.finish(dry, tell && told);
    return { ...removed, evicted, kept: those.length - evicted.length, ahead: time.ahead() };
  }

  async function lose(row: ContentRow, storeId: string): Promise<void> {
    const digest = digestOf(row);
    const reason = ContentLossReason.EVICTED;
    await recordLost(context, serverItself(edge), { digest, reason, missing: digest, path: '', storeId, message: '' });
  }

  /** Records a loss, as far as it is believed. */
  async function recorded(lost: Lost): Promise<boolean> {
    try {
      return await held.lose(serverItself(edge), lost);
    } catch (error) {
      if (error instanceof MemoirError && error.reason === 'CONTENT_UNAVAILABLE') return false;
      throw error;
    }
  }

  return {
    retained: all,
    sweep: (dry, watching = {}) => serially('sweep', () => sweepNow(dry, watching)),

    async verify({ signal, tell } = {}) {
      const those = await all();
      const lost: { address: string; detail: string }[] = [];
      let [lookedAt, newlyLost, found] = [0, 0, 0];
      let toldLost = 0;
      const told = () => {
        tell?.({ lookedAt, total: those.length, lost: lost.slice(toldLost), newlyLost, found });
        toldLost = lost.length;
      };
      told();
      const look = async ({ row, lost: known }: Retained) => {
        const reasons = known ? readModel.content.lostBy(row.hash) : [];
        if (reasons.includes(ContentLossReason.ERASED)) return;
        const digest = digestOf(row);
        const missing = await held.inspect(digest, known);
        if (missing) {
          lost.push({ address: addressOf(row), detail: missingText(missing.missing, missing.path) });
          if (!known && (await recorded(missing))) newlyLost++;
        } else if (known && (await held.find(digest))) found++;
      };
      const step = async (batch: readonly Retained[]) => {
        await Promise.all(batch.map(look));
        lookedAt += batch.length;
        told();
      };
      await inBatches(those, atOnce, step, signal);
      return { lookedAt, lost, newlyLost, found };
    },

    erase: (caller, address, reason) =>
      serially('sweep', () => eraseContent({ ...context, held, local: needed(local), all }, caller, address, reason)),
  };
}

/** Sweeps from time to time. */
export function watchRetention(retention: Pick<Retention, 'sweep'>, logger: Logger): Sweeping {
  return sweepEvery(
    sweepsEvery,
    async () => {
      const { evicted, kept, blobs, bytes, ahead } = await retention.sweep(false);
      if (ahead > toldAhead) {
        logger.warn(
          { ahead },
          'the clock is further ahead than time passed since the start: nothing is old by that alone',
        );
      }
      if (blobs > 0) logger.info({ evicted: evicted.length, kept, blobs, bytes }, 'content that nothing keeps is gone');
    },
    (error) => logger.error({ err: error }, 'content could not be swept'),
  );
}

function missingText({ hash, sizeBytes }: Digest, path: string): string {
  return `${path === '' ? '' : `${JSON.stringify(path)}, `}${hash}/${sizeBytes}, is not there`;
}

function needed(local: LocalContent | undefined): LocalContent {
  if (local) return local;
  throw new MemoirError(
    'FAILED_PRECONDITION',
    'CONTENT_ELSEWHERE',
    'content is kept in another store, which decides itself what it keeps; take it away there',
  );
}

function behind(): MemoirError {
  return new MemoirError('UNAVAILABLE', 'NOT_CAUGHT_UP', 'the log is still being read; try again');
}
