import { setTimeout as delay } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import { ContentLossReason } from '../../../gen/memoir/events/v1/events_pb.js';
import { ContentKind, type Digest, DigestSchema } from '../../../gen/memoir/jobs/v1/digest_pb.js';
import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { type ContentRow, isStoredIn, lossText } from '../../../projections/read-model/content/content.js';
import { type BlobName, blobText, nameOf } from '../../content/blob-name.js';
import type { ContentStore } from '../../content/content.js';
import { firstMissing, isCorrupt } from '../../content/trees/first-missing.js';
import { MemoirError, messageOf } from '../../domain/errors.js';
import { addressOf, hashOfAddress } from '../../domain/outputs/digest.js';
import { type Caller, serverItself } from '../caller.js';
import type { JobsContext } from '../context.js';
import { contentKey } from '../own-writes.js';
import type { DecidingContent, LookedAt } from '../ports/content.js';
import { type Lost, type RecordingContent, recordFound, recordLost } from './record-content.js';

/** How long the output and log of a job that was answered with stay, in milliseconds. */
const hitHeld = 24 * 3_600_000;

/** How much longer they are held at once, so that few answers have to. */
const heldAhead = 3_600_000;

/** How many jobs are known to have all of their output and log. */
const mostKnown = 200_000;

/** How old what is known of the store may be, in milliseconds: whether it is the same one, and has what it had. */
const identityFor = 5_000;

/** How long a job that is lost, or a store that does not answer, is not asked for again, in milliseconds. */
const askAgainAfter = { lost: 1_000, store: 1_000 };

/** Most losses that are recorded in a minute: a store that loses more is not trusted in it. */
const lossesAMinute = 60;

/** What it is set up with. */
export type HeldContentOptions = {
  /** What becomes of a hit where it cannot be told whether all of its output is there. */
  readonly unchecked: 'answer' | 'refuse';
  /** How long after the first look something must be missing still, in milliseconds. */
  readonly confirmAfter?: number;
};

/** Content that servers keep, looked at and held. */
export type HeldContent = DecidingContent & {
  /**
   * What is missing of some content, after two looks; undefined if all of it is there. `corrupt` or not is told by the reason.
   * @param once - one look is enough, of what is known to be lost
   * @throws MemoirError UNAVAILABLE CONTENT_UNAVAILABLE
   */
  inspect(digest: Digest, once?: boolean): Promise<Lost | undefined>;
  /** Records that content is lost, unless it is known to be. @throws MemoirError UNAVAILABLE if more is lost in a minute than is believed */
  lose(caller: Caller, lost: Lost): Promise<boolean>;
  /** Takes nothing of what a job left for there any more without a look. */
  doubt(uuid: string): void;
  /** Tells whether content is in a store that this server reaches; another server of the log may have one alone. @throws as `inspect` */
  reaches(): Promise<(row: ContentRow) => boolean>;
  /** The error that says in whose store content is, if others of the log have it alone; undefined if this server has it, or had. @throws as `inspect` */
  elsewhere(digest: Pick<Digest, 'hash'>): Promise<MemoirError | undefined>;
  /** Records that content is there again. */
  find(digest: Digest): Promise<boolean>;
};

/** Makes it. */
export function heldContent(
  context: RecordingContent & Pick<JobsContext, 'readModel' | 'written'>,
  content: ContentStore,
  { unchecked, confirmAfter = 1_000 }: HeldContentOptions,
  logger: Logger,
): HeldContent {
  const { readModel, written, edge } = context;
  // By size, since room for so many at once would be made at each start. Until when what a job left is held; for ever where that is not the servers' own.
  const known = new LRUCache<string, number>({ maxSize: mostKnown, sizeCalculation: () => 1 });
  const looking = new Map<string, Promise<Inspected>>();
  const stillLost = new LRUCache<string, number>({ maxSize: 10_000, sizeCalculation: () => 1 });
  let recorded: number[] = [];
  let store: { readonly id: string; readonly ids: readonly string[]; readonly at: number } | undefined;
  let asking = false;
  let away: { readonly until: number; readonly error: MemoirError } | undefined;

  content.onDoubt(() => known.clear());
  written.onNote((key) => {
    if (key === contentKey) known.clear();
  });
  written.onRemade(() => known.clear());

  /** Looks whether it is the same store, and has what it had; else what is known of it is known no more. */
  async function identity(): Promise<string> {
    try {
      const { id, marked, former = [] } = await content.identity();
      if (!marked) throw unavailable(`content store ${id} does not have the blob that it is known by`);
      if (store?.id !== id) known.clear();
      store = { id, ids: [id, ...former], at: edge.now() };
      return id;
    } catch (error) {
      known.clear();
      store = undefined;
      throw error;
    }
  }

  /** Has that looked at from time to time, while nobody waits. */
  function watch(): void {
    if (asking || (store && edge.now() - store.at < identityFor)) return;
    asking = true;
    identity()
      .catch(() => undefined)
      .finally(() => {
        asking = false;
      });
  }

  async function missingOf(digest: Digest): Promise<{ readonly blob: BlobName; readonly path: string } | undefined> {
    const blob = nameOf('digest', digest.hash, digest.sizeBytes);
    try {
      if (digest.kind === ContentKind.TREE) return await firstMissing(content, blob);
    } catch (error) {
      if (!isCorrupt(error)) throw error;
      return firstMissing(content, blob);
    }
    return (await content.missing([blob])).length > 0 ? { blob, path: '' } : undefined;
  }

  async function inspect(digest: Digest, once = false): Promise<Lost | undefined> {
    const first = await missingOf(digest);
    if (!first) return undefined;
    const before = await identity();
    if (!once) await delay(confirmAfter);
    const missing = once ? first : await missingOf(digest);
    if (!missing) return undefined;
    const storeId = await identity();
    if (storeId !== before) throw unavailable(`content store ${before} is ${storeId} now`);
    const corrupt = (await content.corrupted([missing.blob])).length > 0;
    const reason = corrupt ? ContentLossReason.CORRUPT : ContentLossReason.NOT_FOUND;
    const { hash, size } = missing.blob;
    const isWhole = hash === digest.hash;
    const kind = isWhole ? digest.kind : ContentKind.BLOB;
    const lacking = create(DigestSchema, { hash, sizeBytes: BigInt(size), kind });
    return { digest, reason, missing: lacking, path: missing.path, storeId, message: '' };
  }

  type Inspected = 'there' | 'unchecked' | Lost;

  /** Looks through what a job left; of several at a time one does. */
  function inspected(uuid: string, digests: readonly Digest[]): Promise<Inspected> {
    const before = looking.get(uuid);
    if (before) return before;
    const look = (async (): Promise<Inspected> => {
      const now = edge.now();
      if (away && now < away.until) return givenUp(away.error);
      let others: MemoirError | undefined;
      try {
        if (!store) await identity();
        // What others alone have is neither there nor lost.
        const elsewhere = digests.find(({ hash }) => !isReached(readModel.content.get(hash)));
        if (elsewhere) {
          others = keptByOthers(elsewhere);
          return givenUp(others);
        }
        const names = digests.map(({ hash, sizeBytes }) => nameOf('digest', hash, sizeBytes));
        for (let i = 0; i < 3; i++) {
          for (const digest of digests) {
            const lost = await inspect(digest);
            if (lost) return lost;
          }
          // A sweep may have taken it since the look.
          if ((await content.hold(names, hitHeld + heldAhead)).length > 0) continue;
          known.set(uuid, now + hitHeld + heldAhead);
          return 'there';
        }
        throw unavailable(`blobs ${names.map(blobText).join(', ')} come and go`);
      } catch (error) {
        // That tells nothing of this server's own.
        if (error === others) throw error;
        const cause =
          error instanceof MemoirError && error.code === 'UNAVAILABLE' ? error : unavailable(messageOf(error));
        if (!away) logger.error({ err: error }, 'it cannot be told whether outputs are there');
        away = { until: edge.now() + askAgainAfter.store, error: cause };
        return givenUp(cause);
      }
    })();
    looking.set(uuid, look);
    const done = () => void looking.delete(uuid);
    look.then(done, done);
    return look;
  }

  function isReached(row: ContentRow | undefined): boolean {
    return context.store.exclusive || !row || isStoredIn(row, store?.ids ?? []);
  }

  function givenUp(error: MemoirError): 'unchecked' {
    if (unchecked === 'refuse') throw error;
    return 'unchecked';
  }

  /** Holds what is known to be there for longer. */
  async function renewed(job: Job, digests: readonly Digest[], recording: boolean): Promise<LookedAt> {
    const names = digests.map(({ hash, sizeBytes }) => nameOf('digest', hash, sizeBytes));
    const now = edge.now();
    const gone = await content.hold(names, hitHeld + heldAhead).catch(() => names);
    if (gone.length > 0) return looked(job, digests, recording);
    known.set(job.uuid, now + hitHeld + heldAhead);
    return 'there';
  }

  async function looked(job: Job, digests: readonly Digest[], recording: boolean): Promise<LookedAt> {
    const found = await inspected(job.uuid, digests);
    if (typeof found === 'string') {
      if (found === 'there') away = undefined;
      return found;
    }
    if (!recording) return { detail: detailOf(found, edge.now()) };
    try {
      // Whoever is told so first records it; it is lost for all others too.
      await lose(serverItself(edge), found);
    } catch (error) {
      if (error instanceof MemoirError && error.reason === 'CONTENT_UNAVAILABLE') return givenUp(error);
      throw error;
    }
    return 'lost';
  }

  async function lose(caller: Caller, lost: Lost): Promise<boolean> {
    const now = edge.now();
    recorded = recorded.filter((at) => now - at < 60_000 && at <= now);
    const believed = lost.reason === ContentLossReason.NOT_FOUND;
    if (believed && recorded.length >= lossesAMinute) {
      throw unavailable(`${recorded.length} outputs and logs were lost within a minute, which is not believed`);
    }
    const { digest, reason, path, missing } = lost;
    // Counted at once, since others may be recorded at the same moment.
    if (believed) recorded.push(now);
    const done = await recordLost(context, caller, lost);
    if (!done) {
      const at = believed ? recorded.indexOf(now) : -1;
      if (at >= 0) recorded.splice(at, 1);
      return false;
    }
    const name = ContentLossReason[reason];
    const blob = `${missing.hash}/${missing.sizeBytes}`;
    logger.warn({ address: addressOf(digest), missing: blob, path, reason: name }, 'content is lost');
    return true;
  }

  async function find(digest: Digest): Promise<boolean> {
    const storeId = await identity();
    const found = await recordFound(context, serverItself(edge), { digest, storeId });
    if (found) logger.warn({ address: addressOf(digest) }, 'content that was lost is there again');
    return found;
  }

  /** The digests of what a job left, as far as it is the servers' own. */
  function digestsOf(job: Job): readonly Digest[] {
    const output = job.outputDigest ?? imported(job.output);
    return [output, job.logDigest ?? imported(job.log)].filter((digest) => digest !== undefined);
  }

  function imported(address: string): Digest | undefined {
    if (hashOfAddress(address) === undefined) return undefined;
    const row = readModel.content.ofAddress(address);
    return row && create(DigestSchema, { hash: row.hash, sizeBytes: BigInt(row.size), kind: row.kind });
  }

  return {
    inspect,
    lose,
    async reaches() {
      await identity();
      return isReached;
    },
    async elsewhere(digest) {
      if (context.store.exclusive) return undefined;
      const own = await identity();
      const row = readModel.content.get(digest.hash);
      return row && !isReached(row) ? heldByOthers(digest, row.stores.split(' '), own) : undefined;
    },
    find,
    doubt: (uuid) => void known.delete(uuid),
    look(job, recording) {
      const until = known.get(job.uuid);
      if (until !== undefined && until - edge.now() >= hitHeld) {
        watch();
        return undefined;
      }
      const digests = digestsOf(job);
      if (digests.length === 0) {
        known.set(job.uuid, Number.POSITIVE_INFINITY);
        return undefined;
      }
      // Once a hold has ended a sweep may have taken what hangs from it.
      const isHeld = until !== undefined && until > edge.now();
      return isHeld ? renewed(job, digests, recording) : looked(job, digests, recording);
    },

    async foundAgain(job) {
      const now = edge.now();
      if ((stillLost.get(job.uuid) ?? 0) > now) return false;
      const lost = digestsOf(job).filter(({ hash }) => readModel.content.lostBy(hash).length > 0);
      const erased = lost.some(({ hash }) => readModel.content.lostBy(hash).includes(ContentLossReason.ERASED));
      try {
        for (const digest of erased ? [] : lost) if (await missingOf(digest)) throw unavailable('it is still lost');
        if (!erased && lost.length > 0) {
          for (const digest of lost) await find(digest);
          return true;
        }
      } catch (error) {
        if (!(error instanceof MemoirError)) throw error;
      }
      stillLost.set(job.uuid, now + askAgainAfter.lost);
      return false;
    },
  };
}

function detailOf({ digest, reason, path, missing }: Lost, now: number): string {
  const what = digest.kind === ContentKind.TREE ? 'output' : 'log';
  const blob = `${missing.hash}/${missing.sizeBytes}`;
  return lossText(what, { hash: digest.hash, reason, missing: blob, path, lost_at: now });
}

function keptByOthers(digest: Digest): MemoirError {
  return unavailable(
    `${addressOf(digest)} is in a store that another server of this log has alone; set content to one that all of them reach`,
  );
}

/** The error for content that servers keep, but not this one. */
function heldByOthers(digest: Pick<Digest, 'hash'>, stores: readonly string[], own: string): MemoirError {
  const [which, has] = stores.length > 1 ? ['stores', 'have'] : ['store', 'has'];
  return new MemoirError(
    'FAILED_PRECONDITION',
    'HELD_ELSEWHERE',
    `${addressOf(digest)} is kept by another server of this log: content ${which} ${stores.join(', ')} ${has} it, and this server's is ${own}; ask that server, or set content to a store that all of them reach`,
    { metadata: { address: addressOf(digest), stores: stores.join(' ') } },
  );
}

function unavailable(why: string): MemoirError {
  return new MemoirError(
    'UNAVAILABLE',
    'CONTENT_UNAVAILABLE',
    'it cannot be told now whether the output of the job that would be the answer is there; try again',
    { cause: new Error(why) },
  );
}
