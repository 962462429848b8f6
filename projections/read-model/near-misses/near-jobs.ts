import type Database from 'better-sqlite3';
import { keyBytes, leavesOf, nearKeys } from '../../../src/domain/near-misses/leaves.js';
import type { Position } from '../../../src/eventstore/port.js';
import type { Projection } from '../../running/projection.js';

/** Keys of recent jobs after which they are put in their places. */
const mostRecent = 8_192;

/**
 * Jobs by what they nearly are: a row for each of `nearKeys`, its script's and those of its parameters less one. `job` is the position of its
 * JobRequested. Keys lie anywhere, so that each would have a page of its own written: those of recent jobs stand together, one key after the other,
 * until there are so many that several go into a page.
 */
export const nearJobs: Projection = nearJobsOf(mostRecent);

/** The projection with another number of keys that stand together. */
export function nearJobsOf(most: number): Projection {
  return {
    name: 'near jobs',
    version: 2,
    tables: ['near_job', 'near_recent'],
    schema: `
    CREATE TABLE near_job (
      key BLOB NOT NULL,
      job INTEGER NOT NULL,
      PRIMARY KEY (key, job)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE near_recent (
      job INTEGER PRIMARY KEY,
      keys BLOB NOT NULL
    ) STRICT;
  `,
    prepare(db) {
      const insert = db.prepare('INSERT OR IGNORE INTO near_job (key, job) VALUES (?, ?)');
      const insertRecent = db.prepare('INSERT INTO near_recent (job, keys) VALUES (?, ?)');
      const recent = db.prepare('SELECT job, keys FROM near_recent');
      const forget = db.prepare('DELETE FROM near_recent');
      let count = db
        .prepare(`SELECT coalesce(sum(length(keys)), 0) / ${keyBytes} FROM near_recent`)
        .pluck()
        .get() as number;

      function putInPlaces(): void {
        const rows: (readonly [key: Buffer, job: number])[] = [];
        for (const { job, keys } of recent.all() as { job: number; keys: Buffer }[]) {
          for (let at = 0; at < keys.length; at += keyBytes) rows.push([keys.subarray(at, at + keyBytes), job]);
        }
        // In the order of the table, so that each page is come to once.
        rows.sort(([one, first], [other, second]) => one.compare(other) || first - second);
        for (const row of rows) insert.run(row);
        forget.run();
        count = 0;
      }

      return {
        JobRequested({ repository, script, scriptParameters = {} }, { position }) {
          const keys = nearKeys(repository, script, leavesOf(scriptParameters));
          insertRecent.run(position, Buffer.concat([keys.script, ...keys.near]));
          count += 1 + keys.near.length;
          if (count >= most) putInPlaces();
        },
      };
    },
  };
}

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
  // What is found across two keys is no miss: whoever looks compares.
  const ofKey = db
    .prepare(
      `SELECT job FROM (
        SELECT * FROM (SELECT job FROM near_job WHERE key = @key ORDER BY job DESC LIMIT @limit)
        UNION ALL SELECT job FROM near_recent WHERE instr(keys, @key)
      ) ORDER BY job DESC LIMIT @limit`,
    )
    .pluck();
  const row = db.prepare(`
    SELECT position, uuid, owner, repository, script, state, script_version AS scriptVersion, code_digest AS codeDigest,
      docker_image_locator AS dockerImageLocator,
      arvados_sdk_version AS arvadosSdkVersion, computation_digest AS computationDigest, created_at AS createdAt,
      script_parameters AS parameters
    FROM job WHERE position = ? AND deleted = 0 AND length(script_parameters) <= ?`);
  return {
    /** Positions of the newest jobs of a key, at most `limit`, the newest first. */
    newest: (key: Buffer, limit: number) => ofKey.all({ key, limit }) as Position[],
    /** The job at a position; undefined if it was deleted, or its parameters are longer than that. */
    job: (position: Position, longest: number) => row.get(position, longest) as NearRow | undefined,
  };
}
