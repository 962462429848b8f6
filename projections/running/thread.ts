import { existsSync } from 'node:fs';
import { constants, platform, setPriority } from 'node:os';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../../src/domain/errors.js';
import { uuidOfJobStream } from '../../src/domain/streams.js';
import { systemEdge } from '../../src/edge.js';
import { compareTwice, contradicted } from '../../src/eventstore/kept-places.js';
import { openLog, storeKind, storeName } from '../../src/eventstore/open-store.js';
import { type EventLog, LogRefused, type Position } from '../../src/eventstore/port.js';
import type { Trust } from '../../src/eventstore/signing/signing-state.js';
import type { Call } from '../../src/threads/methods.js';
import { serveThread } from '../../src/threads/serve-thread.js';
import { type ProjectionSet, projectionSets } from '../all.js';
import { pastFiles } from '../history/as-of.js';
import { type Checkpoint, isDamage } from './database.js';
import { letGather } from './gathering.js';
import { type KeptFile, openKeptFile, setAside } from './kept-file.js';
import { keptLeaves } from './kept-files.js';
import { DamagedFile } from './page-sums.js';
import { type Applied, type PassedOver, runProjections } from './runner.js';

// The thread that keeps one set of projections, so that a rebuild or a burst never holds up the thread that answers calls.

/** Events in one transaction while the log's past is applied: the more, the less often a page of an index is written again. */
const batchSize = 1_000;

/** How long a patient thread lets events gather, in milliseconds. */
const patientTime = 20;

/**
 * How long any other does, in milliseconds, after a transaction of so many events, while nobody waits: a page that several events of a transaction change is
 * written and checked only once.
 */
const busyTime = 5;
const busyEvents = 8;

/** How long to wait after a failure, such as a full disk, before the batch is tried again, in milliseconds. */
const retryAfter = 1_000;

/** How often a part of the file is checked, in milliseconds. */
const checkInterval = 1_000;

/** Most events of a batch that are named when they are passed over. */
const namedAtOnce = 20;

/** Events after which a job is queued, or asks for less than before. */
const queueing: ReadonlySet<string> = new Set(['JobRequested', 'JobAttemptEnded', 'JobLeft']);

/** Events after which fewer jobs run of an owner or a repository, or another owner's do. */
const ending: ReadonlySet<string> = new Set([
  'JobCompleted',
  'JobFailed',
  'JobCancelled',
  'JobAttemptEnded',
  'JobLeft',
]);

/** What is to be kept. */
export type Kept = {
  /** URL of the event store, with its credentials. */
  readonly storeUrl: string;
  /** File that the projections are kept in. */
  readonly path: string;
  /** Which projections. */
  readonly keeps: ProjectionSet;
  /** Whose signatures are believed; without it none is verified. */
  readonly trust?: Trust | undefined;
};

/** What one committed batch brought. */
export type BatchApplied = {
  readonly kind: 'applied';
  readonly position: Position;
  readonly live: boolean;
  /** Streams that the batch changed, without the answers of reuse; empty while the log's past is applied. */
  readonly streams: readonly string[];
  /** Digests of the computations that the batch has new jobs of; empty while the log's past is applied. */
  readonly computations: readonly string[];
  /** Uuids of the jobs that the batch queued, or may have given to more workers; empty while the log's past is applied. */
  readonly queued: readonly string[];
  /** Whether the batch let queued jobs be given out that were not before. */
  readonly released: boolean;
  /** Whether fewer jobs of somebody run since. */
  readonly ended: boolean;
  /** Whether the batch ordered or lifted an exclusion. */
  readonly excluded: boolean;
};

/** What is told while the log is followed. */
export type FollowTold =
  | { readonly kind: 'opened'; readonly end: Position }
  | BatchApplied
  /** What has just been tried did not work, and is tried again. */
  | { readonly kind: 'failed'; readonly message: string }
  /** So many events were passed over; the first of them. */
  | { readonly kind: 'passed over'; readonly count: number; readonly first: readonly PassedOver[] }
  /** The connection to the store broke: another may answer next. */
  | { readonly kind: 'broken' }
  /** The log seems not to be what it was; the next batch says that it is. */
  | { readonly kind: 'doubted'; readonly why: string }
  /** The file is found damaged: nothing may be told of it any more. */
  | { readonly kind: 'unsound' }
  /** The file is made anew from the log, and was opened: what was read from the old one must be read again. */
  | { readonly kind: 'remade'; readonly why: string };

/** Has this thread run after others. Linux knows a priority of one thread; elsewhere it would be that of the process. */
function giveWay(): void {
  if (platform() !== 'linux') return;
  try {
    setPriority(constants.priority.PRIORITY_BELOW_NORMAL);
  } catch {
    // Whoever started the server forbids it, as SystemCallFilter of a unit can: then it runs as others do.
  }
}

function open({ storeUrl, path, keeps, trust }: Kept) {
  const projections = projectionSets[keeps];

  /** No decision waits for the history, so that it may take its time. */
  const patient = keeps === 'history';

  const gathering = patient ? letGather(patientTime) : letGather(busyTime, busyEvents);

  if (patient) giveWay();

  /** Why the file must be made anew; undefined while it is sound. */
  let damage: string | undefined;
  /** Ends the run over the file that is open: it is damaged, or nobody follows any more. */
  let ended = new AbortController();
  /** Tells who follows. */
  let tell: (told: FollowTold) => void = () => undefined;

  function damaged(why: string): void {
    if (damage === undefined) tell({ kind: 'unsound' });
    damage ??= why;
    ended.abort();
  }

  /** Does what may find damage. */
  function watchfully(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (error instanceof DamagedFile || isDamage(error)) damaged(messageOf(error));
      else tell({ kind: 'failed', message: messageOf(error) });
    }
  }

  /** Nothing is made anew from a log that is another than the one that the file knows, unless that was accepted before. */
  async function refuseOther(log: EventLog, { position, eventId }: Checkpoint): Promise<void> {
    const what = patient ? 'the history' : 'the read model';
    // Live logs may have expired where others keep them.
    const leaves = storeKind(storeUrl) === 'sqlite' ? undefined : keptLeaves(pastFiles(dirname(path)).history);
    const found = await compareTwice(log, [{ what, position, eventId }], leaves);
    if (found) throw contradicted(storeName(storeUrl), found);
  }

  function onPassedOver(events: readonly PassedOver[]): void {
    tell({ kind: 'passed over', count: events.length, first: events.slice(0, namedAtOnce) });
  }

  async function follow(stop: AbortSignal): Promise<void> {
    let caughtUp = false;
    let file: KeptFile | undefined;
    let checks: NodeJS.Timeout | undefined;

    function report({ events, position, live, computations }: Applied): void {
      const streams = new Set<string>();
      const queued = new Set<string>();
      let released = false;
      let ended = false;
      let excluded = false;
      const following = caughtUp;
      if (following) {
        for (const { stream, type } of events) {
          if (type !== 'JobReused') streams.add(stream);
          if (queueing.has(type)) queued.add(uuidOfJobStream(stream));
          if (ending.has(type)) ended = true;
          if (type === 'QueueResumed' || type === 'WorkerUndrained') released = true;
          if (type === 'ExcludedFromReuse' || type === 'ReinstatedForReuse') excluded = true;
        }
      }
      caughtUp ||= live;
      tell({
        kind: 'applied',
        position,
        live: caughtUp,
        streams: [...streams],
        computations: following ? computations : [],
        queued: [...queued],
        released,
        ended,
        excluded,
      });
    }

    const remade = (why: string) => tell({ kind: 'remade', why });

    /** Opens a file that is sound: a new one in the place of one that is damaged. */
    function soundFile(): KeptFile {
      if (file && damage === undefined) return file;
      file?.abandon();
      file = undefined;
      const aside = damage !== undefined && existsSync(path) ? `; it is kept as ${setAside(path)}` : '';
      const why = `${damage}${aside}`;
      file = openKeptFile(path, projections, () => undefined);
      damage = undefined;
      caughtUp = false;
      remade(why);
      return file;
    }

    const onTrouble = (message: string) => tell({ kind: 'failed', message });
    const log = await openLog(storeUrl, systemEdge, onTrouble, false, trust);
    try {
      file = openKeptFile(path, projections, remade);
      tell({ kind: 'opened', end: await log.end() });
      checks = setInterval(() => {
        if (damage === undefined && file) watchfully(file.check);
      }, checkInterval);
      stop.addEventListener('abort', () => ended.abort(), { once: true });
      while (!stop.aborted) {
        try {
          const { db, written } = soundFile();
          ended = new AbortController();
          const onApplied = (applied: Applied) => {
            report(applied);
            watchfully(written);
          };
          await runProjections(log, db, projections, {
            signal: ended.signal,
            onApplied,
            batchSize,
            rest: (events) => gathering.rest(events, ended.signal),
            // Each is told once, though both files pass it over.
            ...(!patient && { onPassedOver }),
            onOtherLog: (checkpoint) => refuseOther(log, checkpoint),
            onBroken: () => tell({ kind: 'broken' }),
            onDoubt: (why) => tell({ kind: 'doubted', why }),
          });
        } catch (error) {
          if (error instanceof LogRefused) throw error;
          const message = messageOf(error);
          if (error instanceof DamagedFile || isDamage(error)) damaged(message);
          tell({ kind: 'failed', message });
          await delay(retryAfter, undefined, { signal: stop }).catch(() => undefined);
        }
      }
    } finally {
      clearInterval(checks);
      file?.close();
      await log.close();
    }
  }

  return {
    /**
     * Follows the log until the call is aborted; there is one such call.
     * @throws LogRefused if the log is one that the process must not go on with; what the file or the log cannot be opened for
     */
    follow(_: undefined, call: Call<FollowTold>): Promise<void> {
      tell = call.tell;
      return follow(call.signal);
    },
    /** Somebody waits for what was recorded. */
    hurry: () => gathering.hurry(),
    /** A reader met damage in the file: it is made anew. */
    damaged,
  };
}

/** The thread's type. */
export type ProjectionThread = typeof open;

serveThread(open);
