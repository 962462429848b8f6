import { create } from '@bufbuild/protobuf';
import type { Logger } from 'pino';
import { ContentLossReason } from '../../../gen/memoir/events/v1/events_pb.js';
import { ContentKind, type Digest, DigestSchema } from '../../../gen/memoir/jobs/v1/digest_pb.js';
import type { ContentRow } from '../../../projections/read-model/content/content.js';
import type { LocalContent, Sweep } from '../../content/local-content.js';
import type { Removed } from '../../content/sweep-blobs.js';
import { MemoirError, quote } from '../../domain/errors.js';
import { addressOf, hashOfAddress } from '../../domain/outputs/digest.js';
import { type Caller, serverItself } from '../caller.js';
import type { JobsContext } from '../context.js';
import { keyedLock } from '../keyed-lock.js';
import { type Sweeping, sweepEvery } from '../running/sweeping.js';
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

/** What was erased. */
export type Erased = { readonly lost: readonly string[]; readonly blobs: number };

/** How long what servers keep stays, and what takes it away. */
export type Retention = {
  /** Takes away what nothing keeps; with `dry` it only tells. @throws MemoirError UNAVAILABLE while the log or the store cannot be read */
  sweep(dry: boolean): Promise<Swept>;
  /** Looks whether all that is kept is whole, and records what is lost and what is found. */
  verify(): Promise<Verified>;
  /** Takes content away for good. @throws MemoirError INVALID_ARGUMENT for what is no address, NOT_FOUND if nothing has it */
  erase(caller: Caller, address: string, reason: string): Promise<Erased>;
  /** What is kept, as jobs keep it. */
  retained(): Promise<readonly Retained[]>;
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

  async function inBatches<T>(items: readonly T[], work: (batch: readonly T[]) => Promise<void>): Promise<void> {
    for (let at = 0; at < items.length; at += atOnce) await work(items.slice(at, at + atOnce));
  }

  /** Has what is kept stay, as far as there is room; gives what does not. */
  async function keepAll(sweep: Sweep, those: readonly Retained[]): Promise<Retained[]> {
    const bounded = quota !== undefined || quotaByPrincipal !== undefined;
    const fast = those.filter((one) => one.kept && (one.fast || !bounded));
    await inBatches(fast, (batch) => sweep.keep(batch.map(({ root }) => root)));
    const going = those.filter(({ kept }) => !kept);
    if (!bounded) return going;
    // Who is held has its place before others.
    const room = { whole: quota ?? Number.POSITIVE_INFINITY, each: quotaByPrincipal ?? Number.POSITIVE_INFINITY };
    const rest = those.filter((one) => one.kept && !one.fast).sort((a, b) => b.askedAt - a.askedAt);
    await inBatches(rest, async (batch) => {
      const stays = await sweep.keepWithin(
        batch.map(({ root, owner }) => ({ ...root, of: owner })),
        room,
      );
      going.push(...batch.filter((_, i) => !stays[i]));
    });
    return going;
  }

  async function sweepNow(dry: boolean): Promise<Swept> {
    const content = needed(local);
    const { sweep } = content;
    const { id: storeId, marked } = await content.identity();
    if (!marked) throw emptied(storeId);
    // Begun before the log is read: who comes later holds what it needs from then on.
    await sweep.begin();
    const those = await all();
    const going = (await keepAll(sweep, those)).filter(({ lost }) => !lost);
    const unheld: Retained[] = [];
    await inBatches(going, async (batch) => {
      const free = await sweep.unheld(batch.map(({ root }) => root));
      unheld.push(...batch.filter((_, i) => free[i]));
      await sweep.keep(batch.filter((_, i) => !free[i]).map(({ root }) => root));
    });
    // One of them may be a part of another that somebody holds.
    const evictable: Retained[] = [];
    await inBatches(unheld, async (batch) => {
      const free = await sweep.unheld(batch.map(({ root }) => root));
      evictable.push(...batch.filter((_, i) => free[i]));
    });
    const evicted: string[] = [];
    if (dry) {
      await sweep.count(evictable.map(({ root }) => root));
      evicted.push(...evictable.map(({ row }) => addressOf(row)));
    } else {
      await inBatches(evictable, async (batch) => {
        await Promise.all(batch.map((one) => lose(one.row, storeId)));
        for (const { root, row } of batch) {
          if (await sweep.evict(root)) evicted.push(addressOf(row));
          else {
            await sweep.keep([root]);
            await held.find(digestOf(row));
          }
        }
      });
    }
    const removed = await sweep.finish(dry);
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
    sweep: (dry) => serially('sweep', () => sweepNow(dry)),

    async verify() {
      const those = await all();
      const lost: { address: string; detail: string }[] = [];
      let [newlyLost, found] = [0, 0];
      await inBatches(those, async (batch) => {
        await Promise.all(
          batch.map(async ({ row, lost: known }) => {
            const reasons = known ? readModel.content.lostBy(row.hash) : [];
            if (reasons.includes(ContentLossReason.ERASED)) return;
            const digest = digestOf(row);
            const missing = await held.inspect(digest, known);
            if (missing) {
              lost.push({ address: addressOf(row), detail: missingText(missing.missing, missing.path) });
              if (!known && (await recorded(missing))) newlyLost++;
            } else if (known && (await held.find(digest))) found++;
          }),
        );
      });
      return { lookedAt: those.length, lost, newlyLost, found };
    },

    erase: (caller, address, reason) =>
      serially('sweep', async () => {
        const hash = hashOfAddress(address);
        if (hash === undefined) {
          throw new MemoirError('INVALID_ARGUMENT', 'BAD_ADDRESS', `address ${quote(address)} is none of content`, {
            field: 'address',
          });
        }
        const content = needed(local);
        const { id: storeId, marked } = await content.identity();
        if (!marked) throw emptied(storeId);
        const those = await all();
        const row = readModel.content.get(hash);
        const having: { row: ContentRow; path: string }[] = [];
        await inBatches(those, async (batch) => {
          const paths = await content.paths(
            batch.map(({ root }) => root),
            hash,
          );
          for (const [i, path] of paths.entries()) {
            if (path !== undefined) having.push({ row: (batch[i] as Retained).row, path });
          }
        });
        const kind = row?.kind ?? ContentKind.BLOB;
        const missing = create(DigestSchema, { hash, sizeBytes: BigInt(row?.size ?? 0), kind });
        const loss = { reason: ContentLossReason.ERASED, missing, storeId, message: reason };
        const known = readModel.content.erased().includes(hash);
        if (having.length === 0 && !known && !(await content.isHere(hash))) {
          throw new MemoirError('NOT_FOUND', 'BLOB_NOT_FOUND', `no content ${quote(address)} is here`, {
            field: 'address',
          });
        }
        // First that it must not exist, so that it is not taken again, then what is lost by that, then it goes.
        await recordLost(context, caller, { ...loss, digest: missing, path: '' });
        for (const { row: one, path } of having) {
          if (one.hash !== hash) await recordLost(context, caller, { ...loss, digest: digestOf(one), path });
        }
        const blobs = (await content.erase(hash)) ? 1 : 0;
        return { lost: having.map(({ row: one }) => addressOf(one)), blobs };
      }),
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

function digestOf({ hash, size, kind }: ContentRow): Digest {
  return create(DigestSchema, { hash, sizeBytes: BigInt(size), kind });
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

function emptied(id: string): MemoirError {
  return new MemoirError(
    'UNAVAILABLE',
    'CONTENT_UNAVAILABLE',
    `content store ${id} does not have the blob that it is known by: it is away, or was emptied`,
  );
}
