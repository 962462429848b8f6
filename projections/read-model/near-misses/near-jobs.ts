import type Database from 'better-sqlite3';
import { leavesOf, nearKeys } from '../../../src/domain/near-misses/leaves.js';
import type { Position } from '../../../src/eventstore/port.js';
import type { Projection } from '../../running/projection.js';

/**
 * Jobs by what they nearly are: a row for each of `nearKeys`, its script's and those of its parameters less one. `job` is the position of its
 * JobRequested.
 */
export const nearJobs: Projection = {
  name: 'near jobs',
  version: 1,
  tables: ['near_job'],
  schema: `
    CREATE TABLE near_job (
      key BLOB NOT NULL,
      job INTEGER NOT NULL,
      PRIMARY KEY (key, job)
    ) STRICT, WITHOUT ROWID;
  `,
  prepare(db) {
    const insert = db.prepare('INSERT OR IGNORE INTO near_job (key, job) VALUES (?, ?)');
    return {
      JobRequested({ repository, script, scriptParameters = {} }, { position }) {
        const keys = nearKeys(repository, script, leavesOf(scriptParameters));
        insert.run(keys.script, position);
        for (const key of keys.near) insert.run(key, position);
      },
    };
  },
};

/** A job as it is compared with what is asked for. */
export type NearRow = {
  /** Position of its JobRequested. */
  readonly position: Position;
  readonly uuid: string;
  readonly owner: string;
  readonly repository: string;
  readonly script: string;
  readonly state: number;
  readonly scriptVersion: string;
  readonly codeDigest: string;
  readonly dockerImageLocator: string;
  readonly arvadosSdkVersion: string;
  readonly computationDigest: string;
  readonly createdAt: number;
  /** JSON. */
  readonly parameters: string;
};

/** Reads of jobs by what they nearly are. */
export function nearJobQueries(db: Database.Database) {
  const ofKey = db.prepare('SELECT job FROM near_job WHERE key = ? ORDER BY job DESC LIMIT ?').pluck();
  const row = db.prepare(`
    SELECT position, uuid, owner, repository, script, state, script_version AS scriptVersion, code_digest AS codeDigest,
      docker_image_locator AS dockerImageLocator,
      arvados_sdk_version AS arvadosSdkVersion, computation_digest AS computationDigest, created_at AS createdAt,
      script_parameters AS parameters
    FROM job WHERE position = ? AND deleted = 0 AND length(script_parameters) <= ?`);
  return {
    /** Positions of the newest jobs of a key, at most `limit`, the newest first. */
    newest: (key: Buffer, limit: number) => ofKey.all(key, limit) as Position[],
    /** The job at a position; undefined if it was deleted, or its parameters are longer than that. */
    job: (position: Position, longest: number) => row.get(position, longest) as NearRow | undefined,
  };
}
