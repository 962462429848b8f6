import type Database from 'better-sqlite3';
import { Fault, type Minima } from '../../gen/memoir/jobs/v1/attempt_pb.js';
import { resultingPriority } from '../../src/domain/interests/interests.js';
import { type Least, type Requirements, requirementsOf } from '../../src/domain/placement/requirements.js';
import { shapeKey, shapeOf, shapeOfKey } from '../../src/domain/placement/shape.js';
import { whereUuid } from '../running/job-position.js';
import type { Projection } from '../running/projection.js';
import { loadQueries, loadTables, loadWriter } from './loads.js';
import { headTable, headWriter } from './queue-heads.js';
import { turnTables, turnWriter } from './turns.js';
import type { WorkerId } from './workers.js';

/**
 * Queued jobs in the order in which workers get them: by `urgency`, the negative priority, then by `turn`, then by `position`, that of
 * JobRequested. They stand in one list for each `shape` of what they ask for, which is called by the position of the event that began it; a
 * shape of which no job is queued is not kept. `owner` is whose turn a job takes: who of those that want it waited longest, with the
 * `weight` of its turns, NULL where the log has none. `running` has what the queue had of the jobs that were started, for those that come
 * back, with their turns. `claimed` is the principal and the name of the worker that claimed it last, as JSON, and `lost_at` the position of the event
 * that says that it lost the job or had no place for it, so that another is to be preferred; 0 if it did not. `is_check` is 1 if it runs another job again to compare, which counts in no load.
 */
export const queue: Projection = {
  name: 'queue',
  version: 9,
  tables: ['queued', 'running', 'shape', 'head', 'owner_turn', 'served_turn', 'owner_load', 'repository_load'],
  schema: `
    CREATE TABLE queued (
      position INTEGER PRIMARY KEY,
      uuid TEXT NOT NULL,
      owner TEXT NOT NULL,
      repository TEXT NOT NULL,
      urgency INTEGER NOT NULL,
      turn INTEGER NOT NULL,
      weight INTEGER,
      shape INTEGER NOT NULL,
      cores INTEGER NOT NULL,
      ram_mb INTEGER NOT NULL,
      scratch_mb INTEGER NOT NULL,
      claimed TEXT,
      lost_at INTEGER NOT NULL,
      is_check INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX queued_order ON queued (urgency, turn, position);
    CREATE INDEX queued_of_owner ON queued (shape, owner, urgency, turn, position);
    CREATE TABLE running (
      position INTEGER PRIMARY KEY,
      uuid TEXT NOT NULL,
      owner TEXT NOT NULL,
      repository TEXT NOT NULL,
      urgency INTEGER NOT NULL,
      turn INTEGER NOT NULL,
      weight INTEGER,
      shape TEXT NOT NULL,
      cores INTEGER NOT NULL,
      ram_mb INTEGER NOT NULL,
      scratch_mb INTEGER NOT NULL,
      claimed TEXT,
      lost_at INTEGER NOT NULL,
      is_check INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE shape (id INTEGER PRIMARY KEY, key TEXT NOT NULL) STRICT;
    CREATE UNIQUE INDEX shape_key ON shape (key);${headTable}${turnTables}${loadTables}
  `,
  prepare(db, positionOf) {
    const insert = db.prepare(`
      INSERT INTO queued (position, uuid, owner, repository, urgency, turn, weight, shape, cores, ram_mb, scratch_mb,
        claimed, lost_at, is_check)
      VALUES (@position, @uuid, @owner, @repository, @urgency, @turn, @weight, @shape, @cores, @ram_mb, @scratch_mb,
        @claimed, @lost_at, @is_check)`);
    const start = db.prepare(`
      INSERT INTO running (position, uuid, owner, repository, urgency, turn, weight, shape, cores, ram_mb, scratch_mb,
        claimed, lost_at, is_check)
      VALUES (@position, @uuid, @owner, @repository, @urgency, @turn, @weight, @shape, @cores, @ram_mb, @scratch_mb,
        @claimed, @lost_at, @is_check)`);
    const queued = db.prepare('SELECT * FROM queued WHERE position = ?');
    const running = db.prepare('SELECT * FROM running WHERE position = ?');
    const unqueue = db.prepare('DELETE FROM queued WHERE position = ?');
    const end = db.prepare('DELETE FROM running WHERE position = ?');
    const reorderRunning = db.prepare(
      'UPDATE running SET owner = ?, weight = ?, urgency = ?, turn = ? WHERE position = ?',
    );
    const heads = headWriter(db);
    const turns = turnWriter(db);
    const loads = loadWriter(db);
    const shapeId = db.prepare('SELECT id FROM shape WHERE key = ?').pluck();
    const keyOf = db.prepare('SELECT key FROM shape WHERE id = ?').pluck();
    const begin = db.prepare('INSERT INTO shape (id, key) VALUES (?, ?)');
    const forget = db.prepare('DELETE FROM shape WHERE id = ?');

    /** The list of a shape, which begins `at` the position of the event at hand if it is not there. */
    function listOf(key: string, at: number): number {
      const known = shapeId.get(key) as number | undefined;
      if (known === undefined) begin.run(at, key);
      return known ?? at;
    }

    /** Puts a job in its list. */
    function put(job: Row): void {
      heads.adding(job);
      insert.run(job);
    }

    /** Takes a job out of its list. */
    function remove(job: Row): void {
      heads.removing(job);
      unqueue.run(job.position);
    }

    /** A job is queued. */
    function enqueue(job: Row): void {
      put(job);
      loads.queued(job, 1);
    }

    /** Takes a job out of the queue, of which what it is counted for is told after: what it had of the job, and the key of its shape. */
    function dequeue(position: number | null): { readonly job: Row; readonly key: string } | undefined {
      const job = queued.get(position) as Row | undefined;
      if (!job) return undefined;
      const key = keyOf.get(job.shape) as string;
      remove(job);
      if (!heads.any(job.shape)) {
        forget.run(job.shape);
        turns.ended(job.shape);
      }
      return { job, key };
    }

    /** A job runs no more: what the queue had of it. */
    function stop(position: number | null): RunningRow | undefined {
      const job = running.get(position) as RunningRow | undefined;
      if (!job) return undefined;
      end.run(position);
      loads.running(job, -1);
      return job;
    }

    /** Asks for other sizes on behalf of a job. */
    function resize(position: number | null, change: (now: Least) => Least, at: number): void {
      const found = dequeue(position);
      if (!found) return;
      const { job, key } = found;
      const sizes = change({ cores: job.cores, ramMb: job.ram_mb, scratchMb: job.scratch_mb });
      const shape = shapeOf({ ...shapeOfKey(key), ...sizes });
      const { cores, ramMb: ram_mb, scratchMb: scratch_mb } = sizes;
      put({ ...job, cores, ram_mb, scratch_mb, shape: listOf(shapeKey(shape), at) });
    }

    /** A job asks for what the interests in it have come to ask for together. */
    function settle(minima: Minima | undefined, stream: string, at: number): void {
      if (!minima) return;
      const sizes = { cores: minima.cores, ramMb: Number(minima.ramMb), scratchMb: Number(minima.scratchMb) };
      resize(positionOf(stream), () => sizes, at);
    }

    /** Gives a job another priority, or its turns to another, also while it runs and may come back: it takes its turn anew. */
    function move(position: number | null, change: Change): void {
      const inQueue = queued.get(position) as Row | undefined;
      const job = inQueue ?? (running.get(position) as RunningRow | undefined);
      if (!job) return;
      const { owner = job.owner, weight = job.weight, urgency = job.urgency } = change;
      if (owner === job.owner && urgency === job.urgency) return;
      const shape = inQueue ? inQueue.shape : ((shapeId.get(job.shape) as number | undefined) ?? 0);
      const turn = turns.take({ owner, urgency, shape, weight });
      if (inQueue) {
        remove(inQueue);
        put({ ...inQueue, owner, weight, urgency, turn });
      } else reorderRunning.run(owner, weight, urgency, turn, position);
      if (owner === job.owner) return;
      const load = inQueue ? loads.queued : loads.running;
      load(job, -1);
      load({ ...job, owner }, 1);
    }

    /** Puts a job that was started into the queue again. */
    function back(position: number | null, lost: boolean, at: number): void {
      const job = stop(position);
      if (job) enqueue({ ...job, lost_at: lost ? at : 0, shape: listOf(job.shape, at) });
    }

    function leave(stream: string): void {
      const position = positionOf(stream);
      const found = dequeue(position);
      if (found) loads.queued(found.job, -1);
      else stop(position);
    }

    /** A job is run, by the worker that claimed it last unless another is given. */
    function go(stream: string, claimed?: string): Row | undefined {
      const found = dequeue(positionOf(stream));
      if (!found) return undefined;
      const job = { ...found.job, claimed: claimed ?? found.job.claimed, lost_at: 0 };
      start.run({ ...job, shape: found.key });
      loads.started(job);
      return job;
    }

    return {
      JobRequested(event, { position }) {
        const { uuid, owner, repository } = event;
        const wanted = requirementsOf(event);
        const { cores, ramMb: ram_mb, scratchMb: scratch_mb } = wanted;
        const urgency = -event.priority;
        const weight = event.turnWeight ?? null;
        const shape = listOf(shapeKey(shapeOf(wanted)), position);
        const turn = turns.take({ owner, urgency, shape, weight });
        const is_check = Number(event.checkOf !== '');
        const place = { position, uuid, owner, repository, urgency, turn, weight, shape, is_check };
        enqueue({ ...place, cores, ram_mb, scratch_mb, claimed: null, lost_at: 0 });
      },
      JobStarted({ worker, workerName }, { stream }) {
        const job = go(stream, claimantText({ principal: worker, workerName }));
        if (job) turns.given(job.shape, job.urgency, job.turn);
      },
      JobResumed: (_event, { stream }) => void go(stream),
      JobAttemptEnded({ minRamMb, fault, givenBack }, { stream, position }) {
        const job = positionOf(stream);
        back(job, !givenBack && (fault === Fault.PLACE || fault === Fault.WORKER), position);
        if (minRamMb > 0n) resize(job, (now) => ({ ...now, ramMb: Number(minRamMb) }), position);
      },
      JobJoined({ resultingMinima, resultingPriority }, { stream, position }) {
        move(positionOf(stream), toPriority(resultingPriority));
        settle(resultingMinima, stream, position);
      },
      JobLeft(event, { stream, position }) {
        const { resultingMinima, turnOf: owner, turnWeight: weight = null } = event;
        const change = toPriority(event.resultingPriority);
        move(positionOf(stream), owner === '' ? change : { ...change, owner, weight });
        settle(resultingMinima, stream, position);
      },
      JobCompleted: (_event, { stream }) => leave(stream),
      JobFailed: (_event, { stream }) => leave(stream),
      JobCancelled: (_event, { stream }) => leave(stream),
      JobUpdated(event, { stream }) {
        move(positionOf(stream), toPriority(resultingPriority(event)));
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
  readonly turn: number;
  readonly weight: number | null;
  readonly shape: number;
  readonly cores: number;
  readonly ram_mb: number;
  readonly scratch_mb: number;
  readonly claimed: string | null;
  readonly lost_at: number;
  readonly is_check: number;
};

/** Who claims, as a text that no other has. */
export function claimantText({ principal, workerName }: WorkerId): string {
  return JSON.stringify([principal, workerName]);
}

/** What may change of a job's place. */
type Change = Partial<Pick<Row, 'owner' | 'weight' | 'urgency'>>;

function toPriority(priority: number | undefined): Change {
  return priority === undefined ? {} : { urgency: -priority };
}

type RunningRow = Omit<Row, 'shape'> & { readonly shape: string };

/** Where a page of the queue goes on. */
export type QueueCursor = { readonly priority: number; readonly turn: number; readonly position: number };

/** A place in the queue. */
export type QueuedRow = QueueCursor & {
  readonly uuid: string;
  readonly owner: string;
  readonly repository: string;
  /** Which list it stands in. */
  readonly shape: number;
  /** Who had it last, as `claimantText` has it, if another worker is to be preferred; else null. */
  readonly lostBy: string | null;
  /** Position of the event that says so; 0 if none is. */
  readonly lostAt: number;
} & Least;

/** A list of the queue: jobs of one shape. */
export type ShapeRow = { readonly id: number; readonly key: string };

/** Where a list begins. */
export type ListBegin = QueueCursor & { readonly shape: number };

/** Whether one place of the queue comes before another: negative if it does. */
export function comparePlaces(a: QueueCursor, b: QueueCursor): number {
  return b.priority - a.priority || a.turn - b.turn || a.position - b.position;
}

/** Reads of the queue. */
export function queueQueries(db: Database.Database) {
  const named = (table: string) =>
    `${table}position, uuid, ${table}owner, repository, -${table}urgency AS priority, ${table}turn, ${table}shape, cores, ram_mb AS ramMb,
    scratch_mb AS scratchMb, iif(lost_at > 0, claimed, NULL) AS lostBy, lost_at AS lostAt`;
  const columns = named('');
  const rest = '(urgency, turn, queued.position) > (?, ?, ?) ORDER BY urgency, turn, queued.position LIMIT ?';
  const places = db.prepare(`SELECT ${columns} FROM queued WHERE ${rest}`);
  const heads = db.prepare(`
    SELECT ${named('queued.')} FROM head CROSS JOIN queued ON queued.position = head.position WHERE head.shape = ? AND
    (head.urgency, head.turn, head.position) > (?, ?, ?) ORDER BY head.urgency, head.turn, head.position LIMIT ?`);
  // Which lists are few among many, and their pages are read once for all of them.
  const firstHeads = `json_each(?) AS list CROSS JOIN head
    ON head.shape = list.value AND (head.urgency, head.turn, head.position) = (
      SELECT urgency, turn, position FROM head WHERE shape = list.value ORDER BY urgency, turn, position LIMIT 1)`;
  const begins = db.prepare(`
    SELECT head.shape, -head.urgency AS priority, head.turn, head.position FROM ${firstHeads}`);
  const firsts = db.prepare(`
    SELECT ${named('queued.')} FROM ${firstHeads} CROSS JOIN queued ON queued.position = head.position`);
  const firstsOfOwner = db.prepare(`
    SELECT ${named('queued.')} FROM json_each(?) AS list CROSS JOIN queued ON queued.position = (
      SELECT position FROM queued WHERE shape = list.value AND owner = ? ORDER BY urgency, turn, position LIMIT 1)`);
  const ofOwner = 'WHERE shape = ? AND owner = ?';
  const placesOf = db.prepare(`SELECT ${columns} FROM queued ${ofOwner} AND ${rest}`);
  const fitting = db.prepare(
    `SELECT ${columns} FROM queued ${ofOwner} AND cores <= ? AND ram_mb <= ? AND scratch_mb <= ? AND ${rest}`,
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
  const bounds = (cursor: QueueCursor | undefined): [number, number, number] =>
    cursor ? [-cursor.priority, cursor.turn, cursor.position] : [-(2 ** 31), 0, 0];
  return {
    /** Up to `limit` places after the cursor. */
    places: (cursor: QueueCursor | undefined, limit: number) => places.all(...bounds(cursor), limit) as QueuedRow[],
    ...loadQueries(db),
    /** Up to `limit` places of one list after the cursor: of each owner the first one in the list. */
    heads: (shape: number, cursor: QueueCursor | undefined, limit: number) =>
      heads.all(shape, ...bounds(cursor), limit) as QueuedRow[],
    /** Where the lists among those that have any job begin. */
    begins: (shapes: readonly number[]) => begins.all(JSON.stringify(shapes)) as ListBegin[],
    /** The first places of lists. */
    firsts: (shapes: readonly number[]) => firsts.all(JSON.stringify(shapes)) as QueuedRow[],
    /** The first places that an owner has in lists. */
    firstsOfOwner: (shapes: readonly number[], owner: string) =>
      firstsOfOwner.all(JSON.stringify(shapes), owner) as QueuedRow[],
    /** Up to `limit` places of an owner in one list after the cursor; with `most` only of jobs that ask for no more than that. */
    placesOf(shape: number, owner: string, cursor: QueueCursor | undefined, limit: number, most?: Least): QueuedRow[] {
      if (!most) return placesOf.all(shape, owner, ...bounds(cursor), limit) as QueuedRow[];
      const { cores, ramMb, scratchMb } = most;
      return fitting.all(shape, owner, cores, ramMb, scratchMb, ...bounds(cursor), limit) as QueuedRow[];
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
