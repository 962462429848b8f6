import type Database from 'better-sqlite3';
import type { MemoirEvent } from '../../src/domain/events.js';
import { remembering } from '../../src/domain/remembering.js';
import { foreignEnvelope, type Judged, judged, whyForeign } from '../../src/eventstore/foreign.js';
import type { Batch, EventLog, Position, RecordedEvent } from '../../src/eventstore/port.js';
import { type Checkpoint, isOfLog, readCheckpoint, resetProjection } from './database.js';
import { jobPositions } from './job-position.js';
import type { BatchHandler, Projection } from './projection.js';

/** What one committed batch brought. */
export type Applied = {
  /** Every projection has seen the log up to here. */
  readonly position: Position;
  /** True if nothing more was in the log. */
  readonly live: boolean;
  /** The events, which may have been seen before by some projections. */
  readonly events: readonly RecordedEvent[];
  /** Digests of the computations that jobs were requested of, as far as a projection was told of them. */
  readonly computations: readonly string[];
};

/** An event that changes nothing, and why. */
export type PassedOver = Pick<RecordedEvent, 'stream' | 'revision' | 'id' | 'type'> & { readonly why: string };

/** How a run of the projections is set up. */
export type RunnerOptions = {
  /** Called after each commit. */
  readonly onApplied?: (applied: Applied) => void;
  /** Told of the events of a committed batch that no Memoir wrote, or that are malformed. */
  readonly onPassedOver?: (events: readonly PassedOver[]) => void;
  /**
   * Told of a checkpoint that is not of the log, before anything of its projection is made anew; what it throws ends the run. Without
   * it the projection is made anew.
   */
  readonly onOtherLog?: (checkpoint: Checkpoint) => Promise<void>;
  /** As of a subscription. */
  readonly onBroken?: () => void;
  readonly onDoubt?: (why: string) => void;
  /** Ends the run after the batch at hand. */
  readonly signal?: AbortSignal;
  /** Most events in one transaction; 1,000 unless given. */
  readonly batchSize?: number;
  /** Is awaited after a batch of so many events that ended at the end of the log, so that what comes in meanwhile costs one transaction. */
  readonly rest?: (events: number) => Promise<void> | undefined;
};

type Handler = (event: MemoirEvent, recorded: RecordedEvent) => void;

type Running = {
  readonly projection: Projection;
  readonly handlers: Readonly<Record<string, Handler>>;
  readonly takeBatch: BatchHandler | undefined;
  position: Position;
};

/**
 * Brings the projections in `db` up to date with the log and keeps them so, until the signal. The rows of a batch and the
 * checkpoint are committed together, so that each event is applied exactly once, whenever the process ends. A projection whose
 * checkpoint is of another log is rebuilt, unless `onOtherLog` has it otherwise.
 * @throws what the log or the database throws; the batch at hand is then rolled back and may be tried again
 */
export async function runProjections(
  log: EventLog,
  db: Database.Database,
  projections: readonly Projection[],
  options: RunnerOptions = {},
): Promise<void> {
  const running: Running[] = [];
  const { positionOf, note } = jobPositions(db, projections.find(({ findJob }) => findJob !== undefined)?.findJob);
  for (const projection of projections) {
    const checkpoint = readCheckpoint(db, projection);
    if (!(await isOfLog(log, checkpoint))) {
      if (options.onOtherLog) await options.onOtherLog(checkpoint);
      else resetProjection(db, projection);
    }
    const { position } = readCheckpoint(db, projection);
    const handlers = (projection.prepare?.(db, positionOf) ?? {}) as Record<string, Handler>;
    running.push({ projection, handlers, takeBatch: projection.prepareBatch?.(db, positionOf), position });
  }
  const apply = applier(db, running, note, options.onPassedOver);
  const from = Math.min(...running.map(({ position }) => position));
  const { signal, batchSize, rest, onBroken, onDoubt } = options;
  let indexed = false;
  const following = {
    ...(signal && { signal }),
    ...(batchSize && { batchSize }),
    ...(onBroken && { onBroken }),
    ...(onDoubt && { onDoubt }),
  };
  for await (const batch of log.subscribeAll(from, following)) {
    const computations = batch.events.length > 0 ? apply(batch) : [];
    if (batch.live && !indexed) {
      for (const { indexes } of projections) if (indexes) db.exec(indexes);
      indexed = true;
    }
    options.onApplied?.({ ...batch, computations });
    const resting = batch.live ? rest?.(batch.events.length) : undefined;
    if (resting) await resting;
  }
}

function applier(
  db: Database.Database,
  running: readonly Running[],
  note: (recorded: RecordedEvent) => void,
  onPassedOver: RunnerOptions['onPassedOver'],
): (batch: Batch) => readonly string[] {
  const save = db.prepare('UPDATE projection SET position = ?, event_id = ? WHERE name = ?');
  let passedOver: PassedOver[] = [];
  let computations = new Set<string>();
  const unread = sparingly(whyForeign, foreignEnvelope);
  /** Which of the projections an event of a type concerns. */
  const handling = remembering(
    (type: string) =>
      running.flatMap((of) => {
        const handler = of.handlers[type];
        return handler ? [{ of, handler }] : [];
      }),
    mostTypes,
  );
  const all = db.transaction((batch: Batch) => {
    passedOver = [];
    computations = new Set();
    const first = Math.min(...running.map(({ position }) => position));
    for (const recorded of batch.events) {
      let found: Judged | undefined;
      note(recorded);
      for (const { of, handler } of handling(recorded.type)) {
        if (recorded.position <= of.position) continue;
        found ??= judged(recorded);
        // What no Memoir wrote, or is malformed, changes nothing.
        if (!found.event) break;
        if (found.event.$typeName === 'memoir.events.v1.JobRequested') computations.add(found.event.computationDigest);
        handler(found.event, recorded);
      }
      if (!onPassedOver || recorded.position <= first) continue;
      const why = found ? found.why : unread(recorded);
      if (why === undefined) continue;
      const { stream, revision, id, type } = recorded;
      passedOver.push({ stream, revision, id, type, why });
    }
    for (const { takeBatch, position } of running) {
      const events = takeBatch ? batch.events.filter((recorded) => recorded.position > position) : [];
      if (events.length > 0) takeBatch?.(events);
    }
    const last = batch.events.at(-1) as RecordedEvent;
    for (const { projection, position } of running) {
      if (last.position > position) save.run(last.position, last.id, projection.name);
    }
  });
  return (batch) => {
    all.immediate(batch);
    if (passedOver.length > 0) onPassedOver?.(passedOver);
    for (const one of running) one.position = Math.max(one.position, batch.position);
    return [...computations];
  };
}

/** Types of events of which it is remembered whom they concern; others may write any into the store. */
const mostTypes = 1_000;

/** Part of the time that is spent on reading what changes nothing, and what may be spent at once, in milliseconds. */
const partForUnread = 0.01;
const forUnreadAtOnce = 100;

/** What a work gives, as long as it takes no more than its part of the time, and what the cheaper one gives where it would. */
function sparingly<T, Given>(work: (given: Given) => T, cheaper: (given: Given) => T): (given: Given) => T {
  const began = performance.now();
  let spent = 0;
  return (given) => {
    const now = performance.now();
    if (spent > forUnreadAtOnce + (now - began) * partForUnread) return cheaper(given);
    const done = work(given);
    spent += performance.now() - now;
    return done;
  };
}
