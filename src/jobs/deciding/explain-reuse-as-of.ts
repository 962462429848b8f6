import type { CreateJobRequest } from '../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import type { Position } from '../../eventstore/port.js';
import { commitRanges } from '../../exclusions/commit-ranges.js';
import { exclusionRulesAsOf, standingAsOf } from '../../exclusions/rules-as-of.js';
import type { Caller, JobsContext } from '../context.js';
import { contextAsOf } from '../reading/context-as-of.js';
import { type Explanation, explainReuse } from './explain-reuse.js';
import { reusableFinder } from './find-reusable.js';

/** What CreateJob would have decided at a position that can be read; as `explainReuse`, by the same rules. */
export type ExplainReuseAsOf = (
  position: Position,
  caller: Caller,
  request: CreateJobRequest,
  maxCandidates: number,
) => Promise<Explanation>;

/** Makes it. What was learnt of ranges of commits, which never changes, is kept. */
export function pastExplainer(context: JobsContext): ExplainReuseAsOf {
  const { history, store, repositories } = context;
  const ranges = commitRanges(repositories);
  return async (position, caller, request, maxCandidates) => {
    const reads = history.at(position);
    const time = (await store.eventAt(position))?.recordedAt ?? history.times.latest(position);
    const then = contextAsOf(context, { position, time, reads });
    const rules = exclusionRulesAsOf(await standingAsOf(reads.exclusions), reads, ranges, position);
    return explainReuse(then, reusableFinder(then, rules), caller, request, maxCandidates);
  };
}
