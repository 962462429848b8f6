import { setTimeout as delay } from 'node:timers/promises';
import type Database from 'better-sqlite3';
import type { MemoirEvent } from '../../src/domain/events.js';
import { judged } from '../../src/eventstore/foreign.js';
import type { Batch, EventLog, Position, RecordedEvent } from '../../src/eventstore/port.js';
import { isOfLog, readCheckpoint, resetProjection } from './database.js';
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
};

/** How a run of the projections is set up. */
export type RunnerOptions = {
  /** Called after each commit. */
  readonly onApplied?: (applied: Applied) => void;
  /** Ends the run after the batch at hand. */
  readonly signal?: AbortSignal;
  /** Most events in one transaction; 1,000 unless given. */
  readonly batchSize?: number;
  /** Pause after a batch that ended at the end of the log, in milliseconds, so that what comes in it costs one transaction; 0 unless given. */
  readonly pause?: number;
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
 * checkpoint is of another log is rebuilt.
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
    if (!(await isOfLog(log, readCheckpoint(db, projection)))) resetProjection(db, projection);
    const { position } = readCheckpoint(db, projection);
    const handlers = (projection.prepare?.(db, positionOf) ?? {}) as Record<string, Handler>;
    running.push({ projection, handlers, takeBatch: projection.prepareBatch?.(db, positionOf), position });
  }
  const apply = applier(db, running, note);
  const from = Math.min(...running.map(({ position }) => position));
  const { signal, batchSize, pause = 0 } = options;
  let indexed = false;
  for await (const batch of log.subscribeAll(from, { ...(signal && { signal }), ...(batchSize && { batchSize }) })) {
    if (batch.events.length > 0) apply(batch);
    if (batch.live && !indexed) {
      for (const { indexes } of projections) if (indexes) db.exec(indexes);
      indexed = true;
    }
    options.onApplied?.(batch);
    if (batch.live && pause > 0) await delay(pause, undefined, signal && { signal }).catch(() => undefined);
  }
}

function applier(
  db: Database.Database,
  running: readonly Running[],
  note: (recorded: RecordedEvent) => void,
): (batch: Batch) => void {
  const save = db.prepare('UPDATE projection SET position = ?, event_id = ? WHERE name = ?');
  const all = db.transaction((batch: Batch) => {
    for (const recorded of batch.events) {
      let event: MemoirEvent | undefined;
      note(recorded);
      for (const { handlers, position } of running) {
        const handler = handlers[recorded.type];
        if (!handler || recorded.position <= position) continue;
        event ??= judged(recorded).event;
        // What no Memoir wrote, or is malformed, changes nothing.
        if (!event) break;
        handler(event, recorded);
      }
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
    for (const one of running) one.position = Math.max(one.position, batch.position);
  };
}
