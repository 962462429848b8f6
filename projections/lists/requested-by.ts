import { isOneOf, joined, type Sql, sql } from './sql.js';

/** Whose requests a list is about, as far as its reader may know of them. Plain data. */
export type RequestedBy = {
  /** Principals of which every request counts. */
  readonly open: readonly string[];
  /** Those of which only requests in some repositories count, and these. */
  readonly others: readonly string[];
  readonly within: readonly string[];
};

/** A condition on labels, as SQL over the column that has them. */
export type OnLabels = (column: string) => Sql;

/**
 * That a job was requested by one of the principals, or they were answered with it. With `onLabels` that must hold of the labels of the job, or of those of one
 * request of theirs that was answered with it. Of others nothing is looked up outside their repositories.
 */
export function requestedByThem({ open, others, within }: RequestedBy, onLabels: OnLabels | undefined): Sql {
  const ofOthers = (condition: Sql) =>
    others.length === 0 ? sql('0') : joined('AND', [isOneOf('job.repository', within), condition]);
  const asked = (names: readonly string[]) => joined('OR', [isOneOf('job.owner', names), answered(names)]);
  const wanted = joined('OR', [asked(open), ofOthers(asked(others))]);
  if (!onLabels) return wanted;
  const labelled = joined('OR', [
    onLabels('job.labels'),
    answered(open, onLabels),
    ofOthers(answered(others, onLabels)),
  ]);
  return joined('AND', [wanted, labelled]);
}

/** That one of the principals was answered with the job, by a request with such labels. */
function answered(names: readonly string[], onLabels?: OnLabels): Sql {
  if (names.length === 0) return sql('0');
  const those = [isOneOf('answer.principal', names), sql('answer.job = job.position')];
  if (onLabels) those.push(onLabels("iif(answer.labels = '', '{}', answer.labels)"));
  const { text, values } = joined('AND', those);
  return sql(`EXISTS (SELECT 1 FROM answered AS answer WHERE ${text})`, ...values);
}

/** A condition that follows, and by which the jobs are found; undefined if there is none. */
export function requestedJobs({ open, others, within }: RequestedBy): Sql | undefined {
  if (others.length > 0) return open.length === 0 ? isOneOf('job.repository', within) : undefined;
  const answer = isOneOf('answer.principal', open);
  const owner = isOneOf('own.owner', open);
  const positions = `SELECT answer.job FROM answered AS answer WHERE ${answer.text}
    UNION ALL SELECT own.position FROM main.job AS own WHERE ${owner.text}`;
  return sql(`job.position IN (${positions})`, ...answer.values, ...owner.values);
}
