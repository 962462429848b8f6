import type Database from 'better-sqlite3';
import type { Position } from '../../src/eventstore/port.js';
import { jobs } from '../read-model/jobs.js';
import { ofParameters, reuseIndex } from '../read-model/reuse-index.js';
import { checkpointOf } from '../running/checkpoint.js';
import { isOneOf } from './sql.js';
import type { Watched } from './watched.js';

/** Which values are wanted: those of a field in all jobs, or of a commit in the jobs with some parameters. Plain data. */
export type ValuesQuery = {
  readonly field: 'repository' | 'script_version' | 'arvados_sdk_version';
  readonly parametersDigest: string | undefined;
  /** With parameters: those of jobs with one of these code digests are told by themselves too. */
  readonly codeDigests?: readonly string[];
};

/** Values, and the position of the log whose jobs have them. */
export type Values = {
  readonly values: readonly string[];
  /** Those of jobs with one of the code digests of the query; absent if it has none. */
  readonly ofCode?: readonly string[];
  readonly position: Position;
};

/**
 * The different values of a field, without the empty one.
 * @throws Overdue if the time is up
 */
export function distinctValues(db: Database.Database, query: ValuesQuery, watched: Watched): Values {
  const checkpoint = watched.statement(db, checkpointOf([jobs.name, reuseIndex.name]));
  const position = checkpoint.pluck().get() as Position;
  const { field, parametersDigest, codeDigests } = query;
  if (parametersDigest === undefined) return { values: allValues(db, field, watched), position };
  const among = { field, parametersDigest };
  const values = valuesAmong(db, among, watched);
  if (!codeDigests) return { values, position };
  return { values, ofCode: valuesAmong(db, { ...among, codeDigests }, watched), position };
}

function valuesAmong(
  db: Database.Database,
  { field, parametersDigest, codeDigests }: ValuesQuery & { readonly parametersDigest: string },
  watched: Watched,
): string[] {
  const each = watched.each('candidate.position');
  const ofCode = codeDigests && isOneOf('candidate.code_digest', codeDigests);
  const code = ofCode ? ` AND ${ofCode.text}` : '';
  const text = `SELECT DISTINCT ${field} FROM candidate WHERE (${each.text}) AND ${ofParameters} AND ${field} <> ''${code}`;
  const values = [parametersDigest, parametersDigest, ...(ofCode?.values ?? [])];
  return watched
    .statement(db, text)
    .pluck()
    .all(...values) as string[];
}

/** Goes from one value to the next by the index, which is known as a loose index scan or skip scan. */
function allValues(db: Database.Database, field: string, watched: Watched): string[] {
  const text = `SELECT ${field} FROM job WHERE ${field} > ? AND ${field} <> '' ORDER BY ${field} LIMIT 1`;
  const next = watched.statement(db, text).pluck();
  const each = watched.each('?');
  const ask = db.prepare(`SELECT ${each.text}`).pluck();
  const values: string[] = [];
  for (let value = next.get(''); value !== undefined; value = next.get(value)) {
    ask.get(values.length);
    values.push(value as string);
  }
  return values;
}
