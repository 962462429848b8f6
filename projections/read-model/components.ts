import type Database from 'better-sqlite3';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { uuidOfJobStream } from '../../src/domain/streams.js';
import type { Projection } from '../running/projection.js';

/**
 * Which jobs have which unfinished ones as components: `parent` is the position of the JobRequested of a job that is unfinished, or was
 * cancelled with a cascade; `child` is the uuid of what need not be a job.
 */
export const components: Projection = {
  name: 'components',
  version: 1,
  tables: ['component'],
  schema: `
    CREATE TABLE component (
      parent INTEGER NOT NULL,
      child TEXT NOT NULL,
      PRIMARY KEY (parent, child)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX component_child ON component (child);
  `,
  prepare(db, positionOf) {
    const insert = db.prepare('INSERT OR IGNORE INTO component (parent, child) VALUES (?, ?)');
    const removeParent = db.prepare('DELETE FROM component WHERE parent = ?');
    const removeChild = db.prepare('DELETE FROM component WHERE child = ?');
    const name = (parent: number, uuids: Readonly<Record<string, string>>) => {
      for (const uuid of Object.values(uuids)) insert.run(parent, uuid);
    };
    const finished = (_event: unknown, { stream }: { readonly stream: string }) => {
      removeParent.run(positionOf(stream));
      removeChild.run(uuidOfJobStream(stream));
    };
    return {
      JobRequested: (event, { position }) => name(position, event.components),
      JobUpdated(event, { stream }) {
        const parent = event.components ? positionOf(stream) : null;
        if (!event.components || parent === null) return;
        removeParent.run(parent);
        name(parent, event.components.uuids);
      },
      JobCompleted: finished,
      JobFailed: finished,
      JobCancelled(event, at) {
        if (event.cascade) removeChild.run(uuidOfJobStream(at.stream));
        else finished(event, at);
      },
    };
  },
};

/** A job that has another as a component. */
export type ParentRow = {
  readonly uuid: string;
  readonly owner: string;
  /** Whether it was cancelled, with a cascade; it is unfinished otherwise. */
  readonly cancelled: boolean;
  /** Principal that cancelled it, and when, in milliseconds since 1970-01-01T00:00Z; empty and 0 unless it was. */
  readonly cancelledBy: string;
  readonly cancelledAt: number;
  /** Principals of its workers, and when each began, in milliseconds since 1970-01-01T00:00Z. */
  readonly workers: readonly { readonly worker: string; readonly startedAt: number }[];
};

type Row = {
  readonly position: number;
  readonly uuid: string;
  readonly owner: string;
  readonly state: JobState;
  readonly cancelled_by: string;
  readonly cancelled_at: number | null;
};

/** Reads of the components. */
export function componentQueries(db: Database.Database) {
  const parents = db.prepare(`
    SELECT job.position, job.uuid, job.owner, job.state, job.cancelled_by, job.cancelled_at
    FROM component JOIN job ON job.position = component.parent WHERE component.child = ? ORDER BY job.position`);
  const attempts = db.prepare('SELECT worker, started_at AS startedAt FROM attempt WHERE job = ? ORDER BY number');
  return {
    /** The jobs that have an unfinished one as a component and are unfinished themselves, or were cancelled with a cascade; oldest first. */
    parents: (uuid: string): ParentRow[] =>
      (parents.all(uuid) as Row[]).map((row) => ({
        uuid: row.uuid,
        owner: row.owner,
        cancelled: row.state === JobState.CANCELLED,
        cancelledBy: row.cancelled_by,
        cancelledAt: row.cancelled_at ?? 0,
        workers: attempts.all(row.position) as ParentRow['workers'],
      })),
  };
}
