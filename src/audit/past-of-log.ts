import { allProjections } from '../../projections/all.js';
import {
  openPastConnection,
  type PastConnection,
  type PastReads,
  pastFiles,
  pastReads,
} from '../../projections/history/as-of.js';
import { imageRegistrations } from '../../projections/history/image-registrations.js';
import { jobLives } from '../../projections/history/job-lives.js';
import { type Watched, watch } from '../../projections/lists/watched.js';
import { queue } from '../../projections/read-model/queue.js';
import { openReadModelFile } from '../../projections/running/database.js';
import type { Projection } from '../../projections/running/projection.js';
import { runProjections } from '../../projections/running/runner.js';
import type { EventLog, Position } from '../eventstore/port.js';
import { logUpTo } from './log-up-to.js';

/** Everything that a log told up to its end, at any moment. */
export type PastOfLog = {
  at(position: Position): PastReads;
  /** Position of the last order or lifting of an exclusion up to a position; 0 if there is none. */
  lastExclusion(position: Position): Position;
  readonly connection: PastConnection;
  readonly watched: Watched;
  close(): void;
};

/** Told of how far the log was read. */
export type OnRead = (position: Position) => void;

/**
 * Builds what the past is read by from a log up to a position, in files of its own in a directory, whatever the server's own files
 * say.
 */
export async function buildPast(log: EventLog, end: Position, directory: string, onRead: OnRead): Promise<PastOfLog> {
  const files = pastFiles(directory);
  const ofJobs = allProjections.filter(({ name }) => name !== queue.name);
  await build(log, end, files.readModel, ofJobs, onRead);
  await build(log, end, files.history, [jobLives, imageRegistrations], onRead);
  const connection = openPastConnection(files);
  const lastExclusion = connection.db
    .prepare(
      `SELECT max((SELECT coalesce(max(position), 0) FROM main.exclusion WHERE position <= @position),
        (SELECT coalesce(max(changed), 0) FROM main.exclusion WHERE changed <= @position))`,
    )
    .pluck();
  return {
    at: pastReads(connection),
    lastExclusion: (position) => lastExclusion.get({ position }) as Position,
    connection,
    watched: watch(connection.db, () => false),
    close: () => connection.db.close(),
  };
}

/** Brings projections in a file to a position of the log. */
export async function build(
  log: EventLog,
  end: Position,
  path: string,
  projections: readonly Projection[],
  onRead: OnRead,
): Promise<void> {
  const db = openReadModelFile(path, projections);
  try {
    // Nobody needs the file after a crash.
    db.pragma('synchronous = OFF');
    await runProjections(logUpTo(log, end), db, projections, { onApplied: ({ position }) => onRead(position) });
  } finally {
    db.close();
  }
}
