import type Database from 'better-sqlite3';

/**
 * SQL that makes the table of the heads of the queue: of each list and owner the job that comes first. So all jobs of an owner who is given no
 * more can be passed over at once, however many they are.
 */
export const headTable = `
    CREATE TABLE head (
      shape INTEGER NOT NULL,
      urgency INTEGER NOT NULL,
      turn INTEGER NOT NULL,
      position INTEGER NOT NULL,
      PRIMARY KEY (shape, urgency, turn, position)
    ) STRICT, WITHOUT ROWID;`;

/** Where a job is queued. */
export type Queued = {
  readonly shape: number;
  readonly owner: string;
  readonly urgency: number;
  readonly turn: number;
  readonly position: number;
};

/** Keeps the heads, as part of the projection of the queue. Each change of a row of `queued` is told before it is made. */
export function headWriter(db: Database.Database) {
  const ofOwner = `
    SELECT shape, owner, urgency, turn, position FROM queued WHERE shape = ? AND owner = ? ORDER BY urgency, turn, position`;
  const first = db.prepare(`${ofOwner} LIMIT 1`);
  const firstTwo = db.prepare(`${ofOwner} LIMIT 2`);
  const insert = db.prepare('INSERT INTO head (shape, urgency, turn, position) VALUES (?, ?, ?, ?)');
  const remove = db.prepare('DELETE FROM head WHERE shape = ? AND urgency = ? AND turn = ? AND position = ?');
  const any = db.prepare('SELECT 1 FROM head WHERE shape = ? LIMIT 1').pluck();

  const put = (job: Queued) => void insert.run(job.shape, job.urgency, job.turn, job.position);
  const drop = (job: Queued) => void remove.run(job.shape, job.urgency, job.turn, job.position);

  return {
    /** A job is about to be queued. */
    adding(job: Queued): void {
      const before = first.get(job.shape, job.owner) as Queued | undefined;
      if (before && !isBefore(job, before)) return;
      if (before) drop(before);
      put(job);
    },
    /** A job is about to leave the queue. */
    removing(job: Queued): void {
      const [head, second] = firstTwo.all(job.shape, job.owner) as Queued[];
      if (head?.position !== job.position) return;
      drop(head);
      if (second) put(second);
    },
    /** Whether a list has any job. */
    any: (shape: number) => any.get(shape) !== undefined,
  };
}

function isBefore(a: Queued, b: Queued): boolean {
  return (a.urgency - b.urgency || a.turn - b.turn || a.position - b.position) < 0;
}
