import type Database from 'better-sqlite3';
import type { Position } from '../src/eventstore/port.js';

/**
 * Makes a read of how far some projections have come, the least of them. In a transaction with other reads it tells of which moment
 * these are.
 */
export function checkpointOf(db: Database.Database, projections: readonly string[]): () => Position {
  const names = projections.map((name) => `'${name}'`).join(', ');
  const read = db.prepare(`SELECT min(position) FROM projection WHERE name IN (${names})`).pluck();
  return () => read.get() as Position;
}
