import type Database from 'better-sqlite3';
import type { Projection } from '../running/projection.js';

/** Queued jobs in the order in which workers get them: by `urgency`, the negative priority, then by `position`, that of JobRequested. */
export const queue: Projection = {
  name: 'queue',
  version: 1,
  tables: ['queued'],
  schema: `
    CREATE TABLE queued (
      position INTEGER PRIMARY KEY,
      uuid TEXT NOT NULL,
      repository TEXT NOT NULL,
      urgency INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX queued_order ON queued (urgency, position);
    CREATE INDEX queued_of_repository ON queued (repository, urgency, position);
  `,
  prepare(db, positionOf) {
    const insert = db.prepare('INSERT INTO queued (position, uuid, repository, urgency) VALUES (?, ?, ?, ?)');
    const remove = db.prepare('DELETE FROM queued WHERE position = ?');
    const reorder = db.prepare('UPDATE queued SET urgency = ? WHERE position = ?');
    return {
      JobRequested: (event, { position }) => void insert.run(position, event.uuid, event.repository, -event.priority),
      JobStarted: (_event, { stream }) => void remove.run(positionOf(stream)),
      JobCancelled: (_event, { stream }) => void remove.run(positionOf(stream)),
      JobUpdated(event, { stream }) {
        if (event.priority !== undefined) reorder.run(-event.priority, positionOf(stream));
      },
    };
  },
};

/** Where a page of the queue goes on. */
export type QueueCursor = { readonly priority: number; readonly position: number };

/** A place in the queue. */
export type QueuedRow = QueueCursor & { readonly uuid: string; readonly repository: string };

/** Reads of the queue. */
export function queueQueries(db: Database.Database) {
  const rest = '(urgency, queued.position) > (?, ?) ORDER BY urgency, queued.position LIMIT ?';
  const places = db.prepare(`SELECT position, uuid, repository, -urgency AS priority FROM queued WHERE ${rest}`);
  const placesOf = db.prepare(
    `SELECT position, uuid, repository, -urgency AS priority FROM queued WHERE repository = ? AND ${rest}`,
  );
  const size = db.prepare('SELECT count(*) FROM queued').pluck();
  const bounds = (cursor: QueueCursor | undefined): [number, number] =>
    cursor ? [-cursor.priority, cursor.position] : [-(2 ** 31), 0];
  return {
    /** Up to `limit` places after the cursor, of these repositories alone unless there are none. */
    places(cursor: QueueCursor | undefined, limit: number, repositories: readonly string[]): QueuedRow[] {
      if (repositories.length === 0) return places.all(...bounds(cursor), limit) as QueuedRow[];
      return repositories
        .flatMap((repository) => placesOf.all(repository, ...bounds(cursor), limit) as QueuedRow[])
        .sort((a, b) => b.priority - a.priority || a.position - b.position)
        .slice(0, limit);
    },
    /** How many jobs are queued. */
    size: () => size.get() as number,
  };
}
