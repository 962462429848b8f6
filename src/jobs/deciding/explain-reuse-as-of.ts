import type { CreateJobRequest } from '../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import type { Position } from '../../eventstore/port.js';
import type { Caller } from '../caller.js';
import type { JobsContext } from '../context.js';
import type { ExclusionsAsOf } from '../ports/exclusions.js';
import { contextAsOf } from '../reading/context-as-of.js';
import { jobAsOf } from '../reading/job-as-of.js';
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
    const job = explained.job && (await jobAsOf(context.store, reads.jobs, explained.job.uuid));
    return job ? { ...explained, job } : explained;
  };
}
