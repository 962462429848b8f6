import type { JsonObject } from '@bufbuild/protobuf';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import type { LineageRow } from '../../projections/read-model/lineage.js';
import type { ReadModel } from '../../projections/read-model/read-model.js';
import type { Access } from '../domain/access.js';
import { pace } from '../jobs/pace.js';
import { seesJob } from './permit.js';
import type { ExclusionRules } from './rules.js';
import { jobOf, type Trace } from './trace.js';

/** A job that an exclusion takes out of reuse. */
export type Hit = {
  readonly uuid: string;
  /** The job whose output it took; empty if it is hit itself, or if the caller may not read that job. */
  readonly through: string;
};

/** What an exclusion takes out of reuse. */
export type Hits = {
  /** The oldest ones, oldest first. */
  readonly first: readonly Hit[];
  /** How many there are in all. */
  readonly count: number;
};

/** Of the jobs of a trace that may be read, those that could be reused if the exclusion did not stand, `limit` of them by name. */
export async function hitsOf(
  { lineage, jobs }: Pick<ReadModel, 'lineage' | 'jobs'>,
  rules: Pick<ExclusionRules, 'ruleFor'>,
  { exclusion, direct, through }: Trace,
  limit: number,
  access: Access,
): Promise<Hits> {
  const first: Hit[] = [];
  let count = 0;
  const positions = Float64Array.from(new Set([...direct, ...through.keys()])).sort();
  const breathe = pace();
  for (const position of positions) {
    await breathe();
    const row = lineage.job(position);
    if (!row || !access.reads(row) || !isReusable(row) || (await isUnderAnother(row))) continue;
    count++;
    if (first.length >= limit) continue;
    const giver = direct.has(position) ? '' : (through.get(position) ?? '');
    first.push({ uuid: row.uuid, through: giver !== '' && seesJob(access, { jobs }, giver) ? giver : '' });
  }
  return { first, count };

  async function isUnderAnother(row: LineageRow): Promise<boolean> {
    const candidate = jobOf(row);
    const parameters = () => JSON.parse(lineage.parameters(row.position)) as JsonObject;
    const question = { repository: row.repository, parameters, candidates: [candidate] };
    return (await rules.ruleFor(question, exclusion.id))?.(candidate) !== undefined;
  }
}

/** Whether a job may be the answer to a request, as far as it depends on the job alone. */
function isReusable({ state, nondeterministic, deleted, output, log }: LineageRow): boolean {
  if (nondeterministic !== 0 || deleted !== 0) return false;
  if (state === JobState.COMPLETE) return output !== '' && log !== '';
  return state === JobState.QUEUED || state === JobState.RUNNING;
}
