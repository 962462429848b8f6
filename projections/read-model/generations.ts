import type Database from 'better-sqlite3';
import { firstGeneration, type Generation } from '../../src/domain/generation.js';
import type { Projection } from '../running/projection.js';

/** The generations of the log: one row each, but for the first, which began with the log. `position` is that of its event. */
export const generations: Projection = {
  name: 'generations',
  version: 1,
  tables: ['generation'],
  schema: `
    CREATE TABLE generation (
      position INTEGER PRIMARY KEY,
      number INTEGER NOT NULL,
      id TEXT NOT NULL
    ) STRICT;
  `,
  prepare(db) {
    const insert = db.prepare('INSERT INTO generation (position, number, id) VALUES (?, ?, ?)');
    return {
      GenerationStarted: ({ generation, id }, { position }) => void insert.run(position, generation, id),
    };
  },
};

/** Reads of the generations. */
export function generationQueries(db: Database.Database) {
  const last = db.prepare('SELECT number, id FROM generation ORDER BY position DESC LIMIT 1');
  return {
    /** The generation that the log is in. */
    current: (): Generation => (last.get() as Generation | undefined) ?? firstGeneration,
  };
}
