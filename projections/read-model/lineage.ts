import type Database from 'better-sqlite3';
import type { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { addressKey, mentionsOf } from '../../src/domain/lineage.js';
import { addressesOf } from '../../src/domain/outputs/addresses.js';
import { whereUuid } from '../running/job-position.js';
import type { Projection } from '../running/projection.js';
import type { RanRow } from './reuse-index.js';

/** Most texts of one job's parameters that are kept, so that no request can fill the index. Content addresses go first. */
const maxMentions = 10_000;

/**
 * Which jobs gave and which took an output. `address` has a row for each address of the output that a job gave, and for each text of its
 * parameters that may be one that it took; `product` has the completions in the order of the log, for following them. `job` is the
 * position of the job's JobRequested.
 */
export const lineage: Projection = {
  name: 'lineage',
  version: 3,
  tables: ['address', 'product'],
  schema: `
    CREATE TABLE address (
      key BLOB NOT NULL,
      gave INTEGER NOT NULL,
      job INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE product (
      position INTEGER PRIMARY KEY,
      job INTEGER NOT NULL
    ) STRICT;
  `,
  indexes: 'CREATE INDEX IF NOT EXISTS address_key ON address (key, gave, job)',
  prepare(db, positionOf) {
    const address = db.prepare('INSERT INTO address (key, gave, job) VALUES (?, ?, ?)');
    const product = db.prepare('INSERT INTO product (position, job) VALUES (?, ?)');
    return {
      JobRequested(event, { position }) {
        if (!event.scriptParameters) return;
        let count = 0;
        for (const text of mentionsOf(event.scriptParameters)) {
          if (++count > maxMentions) break;
          address.run(addressKey(text), 0, position);
        }
      },
      JobCompleted(event, { stream, position }) {
        const job = event.output === '' ? null : positionOf(stream);
        if (job === null) return;
        for (const text of addressesOf(event)) address.run(addressKey(text), 1, job);
        product.run(position, job);
      },
    };
  },
};

/** What exclusions look at in a job. */
export type LineageRow = {
  /** Position of its JobRequested: the order of age. */
  readonly position: number;
  readonly uuid: string;
  readonly owner: string;
  readonly repository: string;
  readonly script_version: string;
  readonly docker_image_locator: string;
  readonly state: JobState;
  readonly nondeterministic: number;
  readonly deleted: number;
  readonly output: string;
  readonly output_v1: string;
  readonly log: string;
} & RanRow;

/** Reads of the lineage, all of them in pages that are short enough for the thread that answers calls. */
export function lineageQueries(db: Database.Database) {
  const columns = `c.position, c.uuid, j.owner, j.repository, c.script_version, c.docker_image_locator, c.state, c.nondeterministic,
    c.deleted, c.output, c.output_v1, c.log, c.worker, c.worker_name, c.ran_from, c.ran_until`;
  const joined = `${columns} FROM candidate c JOIN job j ON j.position = c.position`;
  const page = db.prepare(`SELECT ${joined} WHERE c.position > ? ORDER BY c.position LIMIT ?`);
  const one = db.prepare(`SELECT ${joined} WHERE c.position = ?`);
  const script = db.prepare('SELECT script FROM job WHERE position = ?').pluck();
  const parameters = db.prepare('SELECT script_parameters FROM job WHERE position = ?').pluck();
  const ofAddress = db
    .prepare('SELECT job FROM address WHERE key = ? AND gave = ? AND job > ? ORDER BY job LIMIT ?')
    .pluck();
  const products = db.prepare('SELECT position, job FROM product WHERE position > ? ORDER BY position LIMIT ?');
  const live = db
    .prepare(
      `SELECT a.job FROM address a JOIN candidate c ON c.position = a.job
       WHERE a.key = ? AND a.gave = 1 AND a.job > ? AND c.deleted = 0 ORDER BY a.job LIMIT ?`,
    )
    .pluck();
  const byUuid = db.prepare(`SELECT position FROM job WHERE ${whereUuid}`).pluck();
  return {
    /** Up to `limit` jobs that are younger than the one at a position, oldest first. */
    jobs: (after: number, limit: number) => page.all(after, limit) as LineageRow[],
    /** The job at a position. */
    job: (position: number) => one.get(position) as LineageRow | undefined,
    /** The script of the job at a position. */
    script: (position: number) => (script.get(position) as string | undefined) ?? '',
    /** The parameters of the job at a position, as JSON. */
    parameters: (position: number) => (parameters.get(position) as string | undefined) ?? '{}',
    /** Up to `limit` positions of jobs that gave an output, after a position, oldest first. */
    givers: (output: string, after: number, limit: number) =>
      ofAddress.all(addressKey(output), 1, after, limit) as number[],
    /** Up to `limit` positions of jobs whose parameters hold an output, after a position, oldest first. */
    takers: (output: string, after: number, limit: number) =>
      ofAddress.all(addressKey(output), 0, after, limit) as number[],
    /** Up to `limit` completions with an output after a position of the log, and the jobs that completed. */
    products: (after: number, limit: number) =>
      products.all(after, limit) as { readonly position: number; readonly job: number }[],
    /** As `givers`, of jobs that were not deleted. */
    liveGivers: (output: string, after: number, limit: number) =>
      live.all(addressKey(output), after, limit) as number[],
    /** The position of a job, deleted or not. */
    position: (uuid: string) => byUuid.get(uuid, uuid) as number | undefined,
  };
}
