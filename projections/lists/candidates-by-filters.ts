import type Database from 'better-sqlite3';
import type { Job } from '../../gen/memoir/jobs/v1/job_pb.js';
import type { JobFilter } from '../../src/domain/filters/filter.js';
import { filterFailure } from '../../src/domain/filters/matches.js';
import type { CandidateFacts } from '../../src/domain/reuse.js';
import type { Position } from '../../src/eventstore/port.js';
import { lossReader } from '../read-model/content/content.js';
import { type JobRow, jobFromRow, jobs } from '../read-model/jobs.js';
import { type Readers, readableBy } from '../read-model/readers.js';
import {
  type CandidateRow,
  candidateColumns,
  factsFromRow,
  factsWithLosses,
  ofParameters,
  reuseIndex,
} from '../read-model/reuse-index.js';
import { checkpointOf } from '../running/checkpoint.js';
import { compileFilters } from './job-filters.js';
import { Overdue } from './list-failures.js';
import { joined, type Sql, sql } from './sql.js';
import { asTold, type Knowing, toldIf } from './told-fields.js';
import type { Watched } from './watched.js';

/** Most candidates that match; a decision looks at all of them. */
const mostMatching = 100_000;

/** Which candidates are wanted: all jobs with these parameters, told apart by filters. Plain data. */
export type CandidatesQuery = {
  /** Position of the log whose jobs are meant, on a connection to the past; absent for now. */
  readonly asOf?: Position;
  readonly parametersDigest: string;
  readonly filters: readonly JobFilter[];
  /** Who asks; undefined for whoever may read all. */
  readonly readers: Readers | undefined;
  /** What it knows of fields that are not told to every reader; absent for everything. */
  readonly knowing?: Knowing;
  /** How many of those that do not match to tell of, the oldest first. */
  readonly listed: number;
};

/** The candidates, deleted ones too. */
export type FilteredCandidates = {
  /** All that match, and the oldest of those that do not, which say why; oldest first. */
  readonly candidates: readonly CandidateFacts[];
  /** How many more there are that do not match. */
  readonly unlisted: number;
  /** Both are those of the log up to here. */
  readonly position: Position;
};

/**
 * Finds the candidates of a request with filters.
 * @throws Overdue if the time is up or more match than a decision can look at
 */
export function candidatesByFilters(
  db: Database.Database,
  { parametersDigest, filters, readers, knowing, listed }: CandidatesQuery,
  watched: Watched,
): FilteredCandidates {
  const checkpoint = watched.statement(db, checkpointOf([jobs.name, reuseIndex.name]));
  const position = checkpoint.pluck().get() as Position;
  const { where, tests } = compileFilters(filters, watched.goOn, undefined, knowing && toldIf(knowing, readers));
  const digest = sql(ofParameters, parametersDigest, parametersDigest);
  const those = [watched.each('candidate.position'), digest, readableBy(readers)];
  const from = 'candidate CROSS JOIN job ON job.position = candidate.position';
  const rows = (columns: string, condition: Sql, limit: number) => {
    const all = joined('AND', [...those, condition]);
    const text = `SELECT ${columns} FROM ${from} WHERE ${all.text} ORDER BY candidate.position LIMIT ?`;
    return watched.statement(db, text, tests).all(...all.values, limit);
  };
  const matching = rows(
    `candidate.position, job.repository, job.computation_digest, ${candidateColumns}`,
    where,
    mostMatching + 1,
  ) as Placed<CandidateRow & Pick<JobRow, 'repository' | 'computation_digest'>>[];
  if (matching.length > mostMatching) throw new Overdue(`more than ${mostMatching} jobs match`);
  const others = sql(`NOT coalesce((${where.text}), 0)`, ...where.values);
  const failing = rows('job.*', others, listed) as Placed<JobRow>[];
  const failed = filterFailure(filters);
  const failure = (job: Job) => failed(knowing ? asTold(knowing, readers, job) : job);
  const losses = lossReader((text) => watched.statement(db, text));
  const matched = factsWithLosses(matching, losses);
  const candidates = [
    ...matching.map(({ position, repository, computation_digest: computation }, i) => ({
      position,
      facts: { ...(matched[i] as CandidateFacts), repository, computation },
    })),
    ...failing.map((row) => ({ position: row.position, facts: failedFacts(row, failure) })),
  ].sort((a, b) => a.position - b.position);
  const count = joined('AND', those);
  const total = watched
    .statement(db, `SELECT count(*) FROM ${from} WHERE ${count.text}`)
    .pluck()
    .get(...count.values) as number;
  return { candidates: candidates.map(({ facts }) => facts), unlisted: total - candidates.length, position };
}

type Placed<Row> = Row & { readonly position: number };

function failedFacts(row: JobRow, failure: ReturnType<typeof filterFailure>): CandidateFacts {
  const failedFilter = failure(jobFromRow(row)) ?? 'it does not match the filters';
  return { ...factsFromRow(row), repository: row.repository, failedFilter };
}
