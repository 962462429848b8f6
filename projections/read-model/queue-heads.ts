import type Database from 'better-sqlite3';

/**
 * SQL that makes the table of the heads of the queue: of each list and owner the job that comes first. So all jobs of an owner who is given no
 * more can be passed over at once, however many they are.
 */
export const headTable = `
    CREATE TABLE head (
      shape INTEGER NOT NULL,
      owner TEXT NOT NULL,
      urgency INTEGER NOT NULL,
      turn INTEGER NOT NULL,
      position INTEGER NOT NULL,
      PRIMARY KEY (shape, owner)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX head_order ON head (shape, urgency, turn, position);`;

/** Where a job is queued. */
export type Queued = {
  readonly shape: number;
  readonly owner: string;
  readonly urgency: number;
  readonly turn: number;
  readonly position: number;
};

/** Keeps the heads, as part of the projection of the queue, whose rows of `queued` are written before. */
export function headWriter(db: Database.Database) {
  const put = db.prepare(`
    INSERT INTO head (shape, owner, urgency, turn, position) VALUES (@shape, @owner, @urgency, @turn, @position)
    ON CONFLICT DO UPDATE SET urgency = excluded.urgency, turn = excluded.turn, position = excluded.position
      WHERE (excluded.urgency, excluded.turn, excluded.position) < (head.urgency, head.turn, head.position)`);
  const headOf = db.prepare('SELECT position FROM head WHERE shape = ? AND owner = ?').pluck();
  const next = db.prepare(`
    SELECT shape, owner, urgency, turn, position FROM queued WHERE shape = ? AND owner = ?
    ORDER BY urgency, turn, position LIMIT 1`);
  const replace = db.prepare(`
    UPDATE head SET urgency = @urgency, turn = @turn, position = @position WHERE shape = @shape AND owner = @owner`);
  const remove = db.prepare('DELETE FROM head WHERE shape = ? AND owner = ?');
  const any = db.prepare('SELECT 1 FROM head WHERE shape = ? LIMIT 1').pluck();

  return {
    /** A job was queued. */
    queued({ shape, owner, urgency, turn, position }: Queued): void {
      put.run({ shape, owner, urgency, turn, position });
    },
    /** A job is queued there no more. */
    gone({ shape, owner, position }: Queued): void {
      if (headOf.get(shape, owner) !== position) return;
      const after = next.get(shape, owner) as Queued | undefined;
      if (after) replace.run(after);
      else remove.run(shape, owner);
    },
    /** Whether a list has any job. */
    any: (shape: number) => any.get(shape) !== undefined,
  };
}
