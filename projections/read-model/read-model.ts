import type Database from 'better-sqlite3';
import type { Generation } from '../../src/domain/generation.js';
import { generationStream } from '../../src/domain/streams.js';
import type { Trust } from '../../src/eventstore/signing/signing-state.js';
import { type Follower, startFollower } from '../running/follower.js';
import { isUnreadable, openReadConnection, readTrouble } from '../running/read-connection.js';
import type { BatchApplied } from '../running/thread.js';
import { answerQueries } from './answers.js';
import { backOffQueries } from './back-offs.js';
import { checkQueries } from './checks.js';
import { claimQueries } from './claims.js';
import { componentQueries } from './components.js';
import { contentQueries } from './content/content.js';
import { giverQueries } from './content/givers.js';
import { retentionQueries } from './content/retention.js';
import { exclusionQueries } from './exclusions.js';
import { generationQueries } from './generations.js';
import { imageQueries } from './images.js';
import { jobQueries } from './jobs.js';
import { lineageQueries } from './lineage.js';
import { nearJobQueries } from './near-misses/near-jobs.js';
import { queueQueries } from './queue.js';
import { reuseQueries } from './reuse-index.js';
import { savingQueries } from './savings/savings.js';
import { tombstoneQueries } from './tombstones.js';
import { workerQueries } from './workers.js';

/** When a listener is told again that could not read the file, in milliseconds, unless something is told before. */
const toldAgainAfter = 1_000;

/** What a batch of events may have changed. */
export type Touched = {
  /** Whether anything may have changed; then the rest says nothing. */
  readonly any: boolean;
  /** Streams with new events, without answers of reuse. */
  readonly streams: readonly string[];
  /** Digests of the computations that new jobs were requested of. */
  readonly computations: readonly string[];
};

/** Is told of jobs that were queued. */
export type QueueListener = (uuids?: readonly string[]) => void;

/** The read model as the thread that answers calls sees it. */
export type ReadModel = Follower & {
  readonly jobs: ReturnType<typeof jobQueries>;
  readonly candidates: ReturnType<typeof reuseQueries>;
  readonly queue: ReturnType<typeof queueQueries>;
  readonly lineage: ReturnType<typeof lineageQueries>;
  readonly nearJobs: ReturnType<typeof nearJobQueries>;
  readonly exclusions: ReturnType<typeof exclusionQueries>;
  readonly images: ReturnType<typeof imageQueries>;
  /** The generation that the log is in, as far as it was read. */
  generation(): Generation;
  readonly answers: ReturnType<typeof answerQueries>;
  readonly claims: ReturnType<typeof claimQueries>;
  readonly backOffs: ReturnType<typeof backOffQueries>;
  readonly tombstones: ReturnType<typeof tombstoneQueries>;
  readonly workers: ReturnType<typeof workerQueries>;
  readonly components: ReturnType<typeof componentQueries>;
  readonly content: ReturnType<typeof contentQueries>;
  readonly givers: ReturnType<typeof giverQueries>;
  readonly retention: ReturnType<typeof retentionQueries>;
  readonly checks: ReturnType<typeof checkQueries>;
  readonly savings: ReturnType<typeof savingQueries>;
  /** Calls `listener` after a change of the stream can be read, until the returned function is called. */
  onChange(stream: string, listener: () => void): () => void;
  /**
   * Calls `listener` with the uuids of jobs that were queued, without any if any number of them may be given to workers that could not be
   * before, until the returned function is called.
   */
  onQueued(listener: QueueListener): () => void;
  /** Calls `listener` after fewer jobs of somebody run than before. */
  onEnded(listener: () => void): void;
  /**
   * Calls `listener` with what a batch may have changed, before anybody else is told that it can be read: what was read before, and is of nothing that
   * was told since, is as of the position that the read model is at.
   */
  onTouched(listener: (touched: Touched) => void): void;
  /** Calls `listener` after exclusions were ordered or lifted. */
  onExclusion(listener: () => void): void;
};

/**
 * Starts the thread that keeps the read model at `readModelPath` of the store at `storeUrl`, and opens it for reading. With `trust`
 * signatures of the log are verified.
 * @throws StoreUnavailable if another server has the read model; MemoirError UNAVAILABLE if the file or the log cannot be opened
 */
export async function openReadModel(storeUrl: string, readModelPath: string, trust?: Trust): Promise<ReadModel> {
  const listeners = new Map<string, Set<() => void>>();
  const queueListeners = new Set<QueueListener>();
  const exclusionListeners: (() => void)[] = [];
  const endListeners: (() => void)[] = [];
  const missed: (() => void)[] = [];
  let tellingMissed: NodeJS.Timeout | undefined;
  const touchedListeners: ((touched: Touched) => void)[] = [];

  function touch(touched: Touched): void {
    for (const listener of touchedListeners) listener(touched);
  }

  function tell(message: BatchApplied, nowLive: boolean): void {
    // While the log's past is applied it is not told what changes.
    const { streams: changed, computations } = message;
    touch({ any: nowLive || !message.live, streams: changed, computations });
    // What changed while the log's past was applied was told to nobody, so that everybody is told when that is over.
    const streams = nowLive ? [...listeners.keys()] : changed;
    const told = streams.flatMap((stream) => [...(listeners.get(stream) ?? [])]);
    if (nowLive || message.excluded) told.push(...exclusionListeners);
    tellMissed();
    for (const listener of told) tellOne(listener);
    if (nowLive || message.ended) for (const listener of endListeners) tellOne(listener);
    const anyNumber = nowLive || message.released;
    if (anyNumber || message.queued.length > 0) {
      const queued = anyNumber ? undefined : message.queued;
      for (const listener of [...queueListeners]) tellOne(() => listener(queued));
    }
  }

  /** A listener that cannot read the file, as one that is found damaged by that, is told again: nobody else waits for it. */
  function tellOne(listener: () => void): void {
    try {
      listener();
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      missed.push(listener);
      tellingMissed ??= setTimeout(tellMissed, toldAgainAfter).unref();
    }
  }

  function tellMissed(): void {
    clearTimeout(tellingMissed);
    tellingMissed = undefined;
    for (const listener of missed.splice(0)) tellOne(listener);
  }

  const kept = { storeUrl, path: readModelPath, keeps: 'read model', trust } as const;
  const follower = await startFollower(kept, 'the read model', tell);
  const connection = openReadConnection(
    readModelPath,
    queriesOf,
    readTrouble(follower.name, follower.damaged),
    () => follower.progress().live,
  );
  follower.onRemade(connection.renew);
  follower.onRemade(() => touch({ any: true, streams: [], computations: [] }));

  const { generations, ...reads } = connection.reads;
  // It is asked for with every token.
  let generation = generations.current();
  listeners.set(generationStream, new Set([() => (generation = generations.current())]));

  return {
    ...follower,
    ...reads,
    generation: () => generation,
    onChange(stream, listener) {
      const own = () => listener();
      const those = listeners.get(stream) ?? new Set();
      listeners.set(stream, those.add(own));
      return () => {
        those.delete(own);
        if (those.size === 0 && listeners.get(stream) === those) listeners.delete(stream);
      };
    },
    onQueued(listener) {
      const own: QueueListener = (uuids) => listener(uuids);
      queueListeners.add(own);
      return () => void queueListeners.delete(own);
    },
    onEnded: (listener) => void endListeners.push(listener),
    onTouched: (listener) => void touchedListeners.push(listener),
    onExclusion: (listener) => void exclusionListeners.push(listener),
    async close() {
      await follower.close();
      clearTimeout(tellingMissed);
      connection.close();
    },
  };
}

function queriesOf(db: Database.Database) {
  return {
    jobs: jobQueries(db),
    candidates: reuseQueries(db),
    queue: queueQueries(db),
    lineage: lineageQueries(db),
    exclusions: exclusionQueries(db),
    answers: answerQueries(db),
    claims: claimQueries(db),
    backOffs: backOffQueries(db),
    images: imageQueries(db),
    generations: generationQueries(db),
    tombstones: tombstoneQueries(db),
    workers: workerQueries(db),
    components: componentQueries(db),
    content: contentQueries(db),
    givers: giverQueries(db),
    retention: retentionQueries(db),
    checks: checkQueries(db),
    nearJobs: nearJobQueries(db),
    savings: savingQueries(db),
  };
}
