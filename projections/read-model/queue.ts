import type Database from 'better-sqlite3';
import type { Minima } from '../../gen/memoir/jobs/v1/attempt_pb.js';
import { resultingPriority } from '../../src/domain/interests/interests.js';
import { type Least, type Requirements, requirementsOf } from '../../src/domain/placement/requirements.js';
import { shapeKey, shapeOf, shapeOfKey } from '../../src/domain/placement/shape.js';
import { whereUuid } from '../running/job-position.js';
import type { Projection } from '../running/projection.js';

/**
 * Queued jobs in the order in which workers get them: by `urgency`, the negative priority, then by `position`, that of JobRequested. They
 * stand in one list for each `shape` of what they ask for, which is called by the position of the event that began it; a shape of
 * which no job is queued is not kept. `running` has what the queue had of the jobs that were started, for those that come back.
 */
export const queue: Projection = {
  name: 'queue',
  version: 3,
  tables: ['queued', 'running', 'shape'],
  schema: `
    CREATE TABLE queued (
      position INTEGER PRIMARY KEY,
      uuid TEXT NOT NULL,
      owner TEXT NOT NULL,
      repository TEXT NOT NULL,
      urgency INTEGER NOT NULL,
      shape INTEGER NOT NULL,
      cores INTEGER NOT NULL,
      ram_mb INTEGER NOT NULL,
      scratch_mb INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX queued_order ON queued (urgency, position);
    CREATE INDEX queued_of_shape ON queued (shape, urgency, position);
    CREATE TABLE running (
      position INTEGER PRIMARY KEY,
      uuid TEXT NOT NULL,
      owner TEXT NOT NULL,
      repository TEXT NOT NULL,
      urgency INTEGER NOT NULL,
      shape TEXT NOT NULL,
      cores INTEGER NOT NULL,
      ram_mb INTEGER NOT NULL,
      scratch_mb INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE shape (id INTEGER PRIMARY KEY, key TEXT NOT NULL) STRICT;
    CREATE UNIQUE INDEX shape_key ON shape (key);
  `,
  prepare(db, positionOf) {
    const insert = db.prepare(`
      INSERT INTO queued (position, uuid, owner, repository, urgency, shape, cores, ram_mb, scratch_mb)
      VALUES (@position, @uuid, @owner, @repository, @urgency, @shape, @cores, @ram_mb, @scratch_mb)`);
    const start = db.prepare(`
      INSERT INTO running (position, uuid, owner, repository, urgency, shape, cores, ram_mb, scratch_mb)
      VALUES (@position, @uuid, @owner, @repository, @urgency, @shape, @cores, @ram_mb, @scratch_mb)`);
    const queued = db.prepare('SELECT * FROM queued WHERE position = ?');
    const running = db.prepare('SELECT * FROM running WHERE position = ?');
    const unqueue = db.prepare('DELETE FROM queued WHERE position = ?');
    const end = db.prepare('DELETE FROM running WHERE position = ?');
    const reorder = db.prepare('UPDATE queued SET urgency = ? WHERE position = ?');
    const reorderRunning = db.prepare('UPDATE running SET urgency = ? WHERE position = ?');
    const shapeId = db.prepare('SELECT id FROM shape WHERE key = ?').pluck();
    const keyOf = db.prepare('SELECT key FROM shape WHERE id = ?').pluck();
    const begin = db.prepare('INSERT INTO shape (id, key) VALUES (?, ?)');
    const any = db.prepare('SELECT 1 FROM queued WHERE shape = ? LIMIT 1').pluck();
    const forget = db.prepare('DELETE FROM shape WHERE id = ?');

    /** Puts a job in the list of its shape, which begins `at` the position of the event at hand if it is not there. */
    function enqueue(job: Omit<Row, 'shape'>, key: string, at: number): void {
      let shape = shapeId.get(key) as number | undefined;
      if (shape === undefined) {
        shape = at;
        begin.run(shape, key);
      }
      insert.run({ ...job, shape });
    }

    /** Takes a job out of the queue: what it had of the job, and the key of its shape. */
    function dequeue(position: number | null): { readonly job: Row; readonly key: string } | undefined {
      const job = queued.get(position) as Row | undefined;
      if (!job) return undefined;
      const key = keyOf.get(job.shape) as string;
      unqueue.run(position);
      if (any.get(job.shape) === undefined) forget.run(job.shape);
      return { job, key };
    }

    /** Asks for other sizes on behalf of a job. */
    function resize(position: number | null, change: (now: Least) => Least, at: number): void {
      const found = dequeue(position);
      if (!found) return;
      const { job, key } = found;
      const sizes = change({ cores: job.cores, ramMb: job.ram_mb, scratchMb: job.scratch_mb });
      const shape = shapeOf({ ...shapeOfKey(key), ...sizes });
      const { cores, ramMb: ram_mb, scratchMb: scratch_mb } = sizes;
      enqueue({ ...job, cores, ram_mb, scratch_mb }, shapeKey(shape), at);
    }

    /** A job asks for what the interests in it have come to ask for together. */
    function settle(minima: Minima | undefined, stream: string, at: number): void {
      if (!minima) return;
      const sizes = { cores: minima.cores, ramMb: Number(minima.ramMb), scratchMb: Number(minima.scratchMb) };
      resize(positionOf(stream), () => sizes, at);
    }

    /** Gives a job another priority, also while it runs and may come back. */
    function rank(priority: number | undefined, position: number | null): void {
      if (priority === undefined) return;
      reorder.run(-priority, position);
      reorderRunning.run(-priority, position);
    }

    /** Puts a job that was started into the queue again. */
    function back(position: number | null, at: number): void {
      const job = running.get(position) as RunningRow | undefined;
      if (!job) return;
      end.run(position);
      enqueue(job, job.shape, at);
    }

    function leave(stream: string): void {
      const position = positionOf(stream);
      if (!dequeue(position)) end.run(position);
    }

    function go(stream: string): void {
      const found = dequeue(positionOf(stream));
      if (found) start.run({ ...found.job, shape: found.key });
    }

    return {
      JobRequested(event, { position }) {
        const { uuid, owner, repository } = event;
        const wanted = requirementsOf(event);
        const { cores, ramMb: ram_mb, scratchMb: scratch_mb } = wanted;
        const urgency = -event.priority;
        const key = shapeKey(shapeOf(wanted));
        enqueue({ position, uuid, owner, repository, urgency, cores, ram_mb, scratch_mb }, key, position);
      },
      JobStarted: (_event, { stream }) => go(stream),
      JobResumed: (_event, { stream }) => go(stream),
      JobAttemptEnded({ minRamMb }, { stream, position }) {
        const job = positionOf(stream);
        back(job, position);
        if (minRamMb > 0n) resize(job, (now) => ({ ...now, ramMb: Number(minRamMb) }), position);
      },
      JobJoined({ resultingMinima, resultingPriority: priority }, { stream, position }) {
        rank(priority, positionOf(stream));
        settle(resultingMinima, stream, position);
      },
      JobLeft({ resultingMinima, resultingPriority: priority }, { stream, position }) {
        rank(priority, positionOf(stream));
        settle(resultingMinima, stream, position);
      },
      JobCompleted: (_event, { stream }) => leave(stream),
      JobFailed: (_event, { stream }) => leave(stream),
      JobCancelled: (_event, { stream }) => leave(stream),
      JobUpdated(event, { stream }) {
        rank(resultingPriority(event), positionOf(stream));
      },
    };
  },
};

type Row = {
  readonly position: number;
  readonly uuid: string;
  readonly owner: string;
  readonly repository: string;
  readonly urgency: number;
  readonly shape: number;
  readonly cores: number;
  readonly ram_mb: number;
  readonly scratch_mb: number;
};

type RunningRow = Omit<Row, 'shape'> & { readonly shape: string };

/** Where a page of the queue goes on. */
export type QueueCursor = { readonly priority: number; readonly position: number };

/** A place in the queue. */
export type QueuedRow = QueueCursor & {
  readonly uuid: string;
  readonly owner: string;
  readonly repository: string;
  /** Which list it stands in. */
  readonly shape: number;
} & Least;

/** A list of the queue: jobs of one shape. */
export type ShapeRow = { readonly id: number; readonly key: string };

/** Whether one place of the queue comes before another: negative if it does. */
export function comparePlaces(a: QueueCursor, b: QueueCursor): number {
  return b.priority - a.priority || a.position - b.position;
}

/** Reads of the queue. */
export function queueQueries(db: Database.Database) {
  const columns =
    'position, uuid, owner, repository, -urgency AS priority, shape, cores, ram_mb AS ramMb, scratch_mb AS scratchMb';
  const rest = '(urgency, queued.position) > (?, ?) ORDER BY urgency, queued.position LIMIT ?';
  const places = db.prepare(`SELECT ${columns} FROM queued WHERE ${rest}`);
  const placesOf = db.prepare(`SELECT ${columns} FROM queued WHERE shape = ? AND ${rest}`);
  const fitting = db.prepare(
    `SELECT ${columns} FROM queued WHERE shape = ? AND cores <= ? AND ram_mb <= ? AND scratch_mb <= ? AND ${rest}`,
  );
  const place = db.prepare(
    `SELECT ${columns} FROM queued WHERE position = (SELECT position FROM job WHERE ${whereUuid})`,
  );
  const wanted = db.prepare(`
    SELECT key, cores, ram_mb AS ramMb, scratch_mb AS scratchMb FROM queued JOIN shape ON shape.id = queued.shape
    WHERE position = (SELECT position FROM job WHERE ${whereUuid})`);
  const size = db.prepare('SELECT count(*) FROM queued').pluck();
  const shapes = db.prepare('SELECT id, key FROM shape WHERE id > ? ORDER BY id');
  const shapeCount = db.prepare('SELECT count(*) FROM shape').pluck();
  const bounds = (cursor: QueueCursor | undefined): [number, number] =>
    cursor ? [-cursor.priority, cursor.position] : [-(2 ** 31), 0];
  return {
    /** Up to `limit` places after the cursor. */
    places: (cursor: QueueCursor | undefined, limit: number) => places.all(...bounds(cursor), limit) as QueuedRow[],
    /** Up to `limit` places of one list after the cursor; with `most` only of jobs that ask for no more than that. */
    placesOf(shape: number, cursor: QueueCursor | undefined, limit: number, most?: Least): QueuedRow[] {
      if (!most) return placesOf.all(shape, ...bounds(cursor), limit) as QueuedRow[];
      const { cores, ramMb, scratchMb } = most;
      return fitting.all(shape, cores, ramMb, scratchMb, ...bounds(cursor), limit) as QueuedRow[];
    },
    /** The place of a job, if it is queued. */
    placeOfJob: (uuid: string) => place.get(uuid, uuid) as QueuedRow | undefined,
    /** What a job asks for, if it is queued. */
    requirementsOf(uuid: string): Requirements | undefined {
      const row = wanted.get(uuid, uuid) as (Least & { readonly key: string }) | undefined;
      if (!row) return undefined;
      const { key, cores, ramMb, scratchMb } = row;
      return { ...shapeOfKey(key), cores, ramMb, scratchMb };
    },
    /** The lists that began after the one with an id. */
    shapesAfter: (id: number) => shapes.all(id) as ShapeRow[],
    /** How many lists there are. */
    shapeCount: () => shapeCount.get() as number,
    /** How many jobs are queued. */
    size: () => size.get() as number,
  };
}
