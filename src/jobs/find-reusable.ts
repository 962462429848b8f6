import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { MemoirError } from '../domain/errors.js';
import type { JobRecord } from '../domain/job.js';
import { type CandidateFacts, decideReuse, factsOf, type ReuseDecision, type ReuseTerms } from '../domain/reuse.js';
import type { ExclusionRules } from '../exclusions/rules.js';
import { cachedCandidates } from './cached-candidates.js';
import type { JobsContext } from './context.js';
import type { Wanted } from './wanted.js';

/** A decision, and the chosen job as its stream tells it. */
export type Found = { readonly decision: ReuseDecision<CandidateFacts>; readonly record?: JobRecord };

/** Decides whether a past job is the answer to a request. */
export type FindReusable = (wanted: Wanted) => Promise<Found>;

/**
 * Decides by the reuse index, once it has what this process wrote. It may be behind what other servers did, so a chosen job is
 * looked up in its stream, and if it is not as the index has it, the decision is taken again with what the stream says.
 */
export function reusableFinder(context: JobsContext, exclusions: ExclusionRules): FindReusable {
  const { streams, written } = context;
  const candidatesOf = cachedCandidates(context);

  async function fresh(uuid: string): Promise<JobRecord> {
    const record = await streams.load(uuid);
    if (record) return record;
    throw new MemoirError('INTERNAL', 'INDEX_WRONG', `job ${uuid} of the index is not in the log`);
  }

  /** Heartbeats are not in the index: they would make every one of them a write there. */
  async function withHeartbeats(candidates: readonly CandidateFacts[]): Promise<readonly CandidateFacts[]> {
    return Promise.all(
      candidates.map(async (candidate) =>
        candidate.state === JobState.RUNNING ? factsOf(await fresh(candidate.uuid)) : candidate,
      ),
    );
  }

  /** The request's terms with the exclusions that stand. */
  async function withExclusions(
    { request, terms }: Wanted,
    candidates: readonly CandidateFacts[],
  ): Promise<ReuseTerms> {
    const { repository, scriptParameters = {} } = request;
    const question = { repository, parameters: () => scriptParameters, candidates };
    const exclusion = await exclusions.ruleFor(question);
    return exclusion ? { ...terms, exclusion } : terms;
  }

  return async (wanted) => {
    const { computation } = wanted.digests;
    await written.seen(computation);
    let candidates = visible(wanted, candidatesOf(computation));
    if (wanted.terms.oldestHeartbeat !== undefined) candidates = await withHeartbeats(candidates);
    const excluding = candidates.length > 0 && exclusions.any();
    const terms = excluding ? await withExclusions(wanted, candidates) : wanted.terms;
    for (;;) {
      const decision = decideReuse(candidates, terms);
      const { chosen } = decision;
      if (!chosen) return { decision };
      const record = await fresh(chosen.uuid);
      const facts = factsOf(record);
      if (facts.state === chosen.state && facts.deleted === chosen.deleted) return { decision, record };
      candidates = candidates.map((candidate) => (candidate === chosen ? facts : candidate));
    }
  };
}

/** The candidates that the caller may know of; of the others a decision must not tell that they exist. */
function visible(
  { caller, request: { repository } }: Wanted,
  candidates: readonly CandidateFacts[],
): readonly CandidateFacts[] {
  if (caller.access.knows(repository)) return candidates;
  return candidates.filter(({ owner }) => owner === caller.principal);
}
