import { isOneOf, joined, type Sql, sql } from '../lists/sql.js';

/** Who reads: the jobs that a principal owns or claimed, and all those of some repositories. Plain data. */
export type Readers = { readonly principal: string; readonly repositories: readonly string[] };

/** The condition that a job may be read. */
export function readableBy(readers: Readers | undefined): Sql {
  if (!readers) return sql('1');
  const { principal, repositories } = readers;
  return joined('OR', [
    isOneOf('job.repository', repositories),
    sql('job.owner = ?', principal),
    sql('job.claimed_by = ?', principal),
  ]);
}
