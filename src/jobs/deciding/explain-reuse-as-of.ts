import type { CreateJobRequest } from '../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import type { Position } from '../../eventstore/port.js';
import type { Caller } from '../caller.js';
import type { JobsContext } from '../context.js';
import type { ExclusionsAsOf } from '../ports/exclusions.js';
import { contextAsOf } from '../reading/context-as-of.js';
import { interestsAsOf } from '../reading/interests-as-of.js';
import { type Explanation, explainReuse } from './explain-reuse.js';
import { reusableFinder } from './find-reusable.js';

/** What CreateJob would have decided at a position that can be read; as `explainReuse`, by the same rules. */
export type ExplainReuseAsOf = (
  position: Position,
  caller: Caller,
  request: CreateJobRequest,
  maxCandidates: number,
) => Promise<Explanation>;

/** Makes it. */
export function pastExplainer(context: JobsContext, exclusionsAsOf: ExclusionsAsOf): ExplainReuseAsOf {
  const { history, edge } = context;
  return async (position, caller, request, maxCandidates) => {
    const reads = history.at(position);
    const time = history.times.at(position, edge.now());
    const then = contextAsOf(context, { position, time, reads });
    const rules = await exclusionsAsOf(reads, position);
    const explained = await explainReuse(then, reusableFinder(then, rules), caller, request, maxCandidates);
    const { job } = explained;
    const row = job && reads.jobs.get(job.uuid);
    if (!job || !row) return explained;
    const interests = job.interestCount > 0 ? await interestsAsOf(context.store, job) : [];
    return { ...explained, job: { ...job, attempts: reads.jobs.attempts(row), interests } };
  };
}
