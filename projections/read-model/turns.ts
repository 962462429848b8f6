import type Database from 'better-sqlite3';
import { nextTurn } from '../../src/domain/placement/turns.js';

/**
 * SQL that makes the tables of turns, each for one `urgency`: the last turn of an owner; and the greatest one that was given out of a list of the
 * queue, and of any list in the row of list 0. A list that begins goes on where all lists are together, so that nobody comes first by
 * asking for what nobody else asks for; and one of which little is given out does not wait for what is given out of others.
 */
export const turnTables = `
    CREATE TABLE owner_turn (
      urgency INTEGER NOT NULL,
      owner TEXT NOT NULL,
      turn INTEGER NOT NULL,
      PRIMARY KEY (urgency, owner)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE served_turn (
      shape INTEGER NOT NULL,
      urgency INTEGER NOT NULL,
      turn INTEGER NOT NULL,
      PRIMARY KEY (shape, urgency)
    ) STRICT, WITHOUT ROWID;`;

/** All lists together. */
const anyList = 0;

/** Who takes a turn, and where. */
export type Taking = {
  readonly owner: string;
  readonly urgency: number;
  /** The list; 0 for a job that is in none. */
  readonly shape: number;
  /** Null where the log has no turns. */
  readonly weight: number | null;
};

/** Takes turns, as part of the projection of the queue. */
export function turnWriter(db: Database.Database) {
  const last = db.prepare('SELECT turn FROM owner_turn WHERE urgency = ? AND owner = ?').pluck();
  const take = db.prepare(`
    INSERT INTO owner_turn (urgency, owner, turn) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET turn = excluded.turn`);
  const served = db.prepare('SELECT turn FROM served_turn WHERE shape = ? AND urgency = ?').pluck();
  const begin = db.prepare('INSERT INTO served_turn (shape, urgency, turn) VALUES (?, ?, ?)');
  const serve = db.prepare('UPDATE served_turn SET turn = ? WHERE shape = ? AND urgency = ? AND turn < ?');
  const end = db.prepare('DELETE FROM served_turn WHERE shape = ?');

  const servedOf = (shape: number, urgency: number) => served.get(shape, urgency) as number | undefined;

  return {
    /** Takes the next turn. */
    take({ owner, urgency, shape, weight }: Taking): number {
      let now = servedOf(shape, urgency);
      if (now === undefined) {
        now = servedOf(anyList, urgency) ?? 0;
        if (weight !== null) begin.run(shape, urgency, now);
      }
      if (weight === null) return now;
      const turn = nextTurn(now, (last.get(urgency, owner) as number | undefined) ?? 0, weight);
      take.run(urgency, owner, turn);
      return turn;
    },
    /** A job was given out of a list. */
    given(shape: number, urgency: number, turn: number): void {
      if (turn === 0) return;
      serve.run(turn, shape, urgency, turn);
      const { changes } = serve.run(turn, anyList, urgency, turn);
      if (changes === 0 && servedOf(anyList, urgency) === undefined) begin.run(anyList, urgency, turn);
    },
    /** A list ended. */
    ended: (shape: number) => void end.run(shape),
  };
}
