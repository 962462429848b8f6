import { Rule } from '../../../gen/memoir/jobs/v1/decision_pb.js';
import { JobState } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { asTold } from '../../../projections/lists/told-fields.js';
import type { LossesOf } from '../../../projections/read-model/content/content.js';
import { withLosses } from '../../../projections/read-model/reuse-index.js';
import { isByCodeAlone } from '../../domain/code/rules.js';
import { MemoirError } from '../../domain/errors.js';
import { lastingFields } from '../../domain/filters/field.js';
import type { JobFilter } from '../../domain/filters/filter.js';
import { filterFailure } from '../../domain/filters/matches.js';
import type { WantedInput } from '../../domain/inputs/lacked-inputs.js';
import type { JobRecord } from '../../domain/job.js';
import { lossesUpTo } from '../../domain/outputs/losses.js';
import { type CandidateFacts, factsOf, isSameRun, type ReuseDecision, type ReuseTerms } from '../../domain/reuse.js';
import type { Position } from '../../eventstore/port.js';
import type { Repositories } from '../../git/port.js';
import { contended, maxAttempts } from '../contention.js';
import type { DecidingContext } from '../context.js';
import { contentKey } from '../own-writes.js';
import type { DecidingContent } from '../ports/content.js';
import type { DecidingExclusions, Questioned } from '../ports/exclusions.js';
import { isJobDamaged } from '../reading/evolve-recorded.js';
import { knowingOf, readersOf } from '../reading/readers.js';
import { cachedCandidates } from './candidates/cached-candidates.js';
import type { Basis, FreshCandidate } from './decision-basis.js';
import type { ResolvedFilters } from './filter-sets.js';
import { lackedInputs } from './inputs.js';
import { plainCommits } from './plain-commits.js';
import { rememberedDecisions } from './remembered-decisions.js';
import type { Wanted } from './wanted.js';

/** How many of the candidates that do not match filters are looked at where the caller asks for no number. */
const listedUnasked = 20;

/** A decision, and the chosen job as its stream tells it. */
export type Found = {
  readonly decision: ReuseDecision<CandidateFacts>;
  readonly record?: JobRecord;
  /**
   * Number of the last run of the computation when the candidates were read or before, so that a later run, which the decision
   * does not know of, makes the creation of the next one collide.
   */
  readonly lastRun: number;
  /** What the decision was taken from. */
  readonly basis: Basis;
};

/** How a decision is taken. */
export type FindingOptions = {
  /** With filters, the decision has at most so many of the candidates that do not match, beside all that do. */
  readonly listed?: number;
  /** Whether what is found of outputs may be recorded, such as that one is lost; true unless given. */
  readonly recording?: boolean;
};

/** Decides whether a past job is the answer to a request. */
export type FindReusable = (wanted: Wanted, options?: FindingOptions) => Promise<Found>;

/** Most jobs whose lost output is looked for again before their work is done anew. */
const mostLookedFor = 5;

/** What past jobs are found with. */
export type FindingContext = Pick<DecidingContext, 'store' | 'readModel' | 'streams' | 'written' | 'lists'> & {
  readonly repositories: Pick<Repositories, 'isPlain'>;
};

/** Candidates of a request, and how to look at one of them again. */
type Candidates = {
  readonly candidates: readonly CandidateFacts[];
  readonly unlisted?: number;
  readonly again: (record: JobRecord, before: CandidateFacts) => CandidateFacts;
  readonly lastRun: number;
  readonly position: Position;
  /** With filters, what else decided which jobs are candidates. */
  readonly filtered?: Pick<Basis, 'commits' | 'known' | 'administered'>;
};

/**
 * Decides by the reuse index, once it has what this process wrote. It may be behind what other servers did, so a chosen job is
 * looked up in its stream, and if it is not as the index has it, the decision is taken again with what the stream says.
 */
export function reusableFinder(
  context: FindingContext,
  exclusions: DecidingExclusions,
  content?: DecidingContent,
): FindReusable {
  const { store, readModel, streams, written, lists, repositories } = context;
  const candidatesOf = cachedCandidates(context);
  const decisions = rememberedDecisions();

  /** The job as its stream tells it; undefined if that is damaged, which keeps the job out of reuse. */
  async function fresh(uuid: string): Promise<JobRecord | undefined> {
    let record: JobRecord | undefined;
    try {
      record = await streams.load(uuid);
    } catch (error) {
      if (isJobDamaged(error)) return undefined;
      throw error;
    }
    if (record) return record;
    throw new MemoirError('INTERNAL', 'INDEX_WRONG', `job ${uuid} of the index is not in the log`);
  }

  /** Heartbeats are not in the index: they would make every one of them a write there. */
  async function withHeartbeats(
    { candidates, again }: Candidates,
    looked: FreshCandidate[],
  ): Promise<readonly CandidateFacts[]> {
    const known = await Promise.all(
      candidates.map(async (candidate) => {
        if (candidate.state !== JobState.RUNNING) return candidate;
        const record = await fresh(candidate.uuid);
        if (!record) return undefined;
        looked.push({ uuid: candidate.uuid, revision: record.job.revision });
        return again(record, candidate);
      }),
    );
    return known.filter((candidate) => candidate !== undefined);
  }

  /**
   * What the stream of a candidate says now, with what was lost of it as the candidates have it: a loss that was recorded since they were read is none of
   * what the decision is taken from, and is found when the job that it concerns is looked at.
   */
  function againAt(position: Position): Candidates['again'] {
    const losses: LossesOf = (candidate) => lossesUpTo(readModel.candidates.losses(candidate), position);
    return (record, { requested }) => {
      const facts = factsOf(record);
      return requested === undefined ? facts : withLosses(facts, requested, losses);
    };
  }

  function sameComputation(wanted: Wanted): Candidates {
    const { computation } = wanted.digests;
    const { candidates, lastRun, position } = candidatesOf(computation);
    return { candidates: visible(wanted, candidates), again: againAt(position), lastRun, position };
  }

  /** Any job with these parameters is a candidate, so that everything written so far matters. */
  async function sameParameters(wanted: Wanted, filtered: ResolvedFilters, listed: number): Promise<Candidates> {
    await written.catchUp(await store.end());
    const lastRun = readModel.candidates.lastRun(wanted.digests.computation);
    const filters = await filtered.now();
    const readers = await readersOf(lists, wanted.caller, filters);
    const knowing = await knowingOf(lists, wanted.caller, filters);
    const { parameters: parametersDigest } = wanted.digests;
    const query = { parametersDigest, filters, readers, listed, ...(knowing && { knowing }) };
    const found = await lists.candidates(query, wanted.caller.principal);
    // What lasts was told in the threads for lists, where it takes nobody else's time.
    const failure = filterFailure(filters.filter(mayChange));
    const again = againAt(found.position);
    const matchedAgain: Candidates['again'] = (record, before) => {
      const failedFilter = before.failedFilter ?? failure(knowing ? asTold(knowing, readers, record.job) : record.job);
      const { repository, computationDigest: computation } = record.job;
      return { ...again(record, before), repository, computation, ...(failedFilter !== undefined && { failedFilter }) };
    };
    const commits = filtered.commitsOf();
    const known = readers?.repositories;
    return {
      ...found,
      again: matchedAgain,
      lastRun,
      filtered: {
        ...(commits !== undefined && { commits }),
        ...(known && { known }),
        ...(knowing && { administered: knowing.administered }),
      },
    };
  }

  /** The request's terms with the exclusions that stand. */
  async function withExclusions(
    { caller, request, commit }: Wanted,
    terms: ReuseTerms,
    candidates: readonly CandidateFacts[],
  ): Promise<ReuseTerms> {
    const { repository, scriptParameters = {} } = request;
    const asked = terms.codeDigest === undefined ? candidates : [...candidates, ofCommit(commit)];
    const rule = await exclusions.ruleFor({ repository, parameters: () => scriptParameters, candidates: asked });
    if (!rule) return terms;
    return {
      ...terms,
      exclusion(candidate) {
        const excluded = rule(candidate);
        if (excluded) return exclusions.textOf(excluded, caller.access);
        const own = isByCodeAlone(candidate, terms) ? rule(ofCommit(commit)) : undefined;
        return (
          own &&
          `it has the code of commit ${commit}, which the request names, and ${exclusions.textOf(own, caller.access)}`
        );
      },
    };
  }

  /** Whether what was lost of a candidate is there after all, so that no work has to be done anew because of that. */
  async function anyFoundAgain({ verdicts }: ReuseDecision<CandidateFacts>): Promise<boolean> {
    const lost = verdicts.filter(({ ruledOut }) => ruledOut?.rule === Rule.OUTPUT_LOST).slice(0, mostLookedFor);
    for (const { candidate } of lost) {
      const record = await fresh(candidate.uuid);
      if (record && (await content?.foundAgain(record.job))) return true;
    }
    return false;
  }

  /** Decides; undefined if what was recorded of outputs meanwhile has it decided again. */
  async function decide(wanted: Wanted, { listed = listedUnasked, recording = true }: FindingOptions) {
    const { filters, request } = wanted;
    if (written.pending(wanted.digests.computation)) await written.seen(wanted.digests.computation);
    if (written.pending(contentKey)) await written.seen(contentKey);
    const found = filters ? await sameParameters(wanted, filters, listed) : sameComputation(wanted);
    const { unlisted, lastRun, position, filtered } = found;
    const looked: FreshCandidate[] = [];
    let { candidates } = found;
    if (wanted.terms.oldestHeartbeat !== undefined) candidates = await withHeartbeats(found, looked);
    const inputs =
      wanted.inputs && candidates.length > 0
        ? await lackedInputs(context, wanted.caller, wanted.inputs, candidates)
        : undefined;
    const own = inputs && inputs.length > 0 ? withInputs(wanted.terms, inputs) : wanted.terms;
    const excluding = candidates.length > 0 && exclusions.any();
    const terms = excluding ? await withExclusions(wanted, own, candidates) : own;
    // A rule follows what stands while it is asked; where none was needed, that was so at this moment.
    const withoutRule = terms.exclusion ? undefined : exclusions.position();
    for (;;) {
      const { decision: decided, plain } =
        decisions.known(candidates, terms) ??
        decisions.take(candidates, terms, await plainCommits(repositories, request.repository, candidates, terms));
      const decision = unlisted === undefined ? decided : { ...decided, unlisted };
      const basis: Basis = {
        position,
        exclusions: withoutRule ?? exclusions.position(),
        fresh: looked,
        plain,
        ...filtered,
        ...(terms.inputs && { inputs: terms.inputs }),
      };
      const { chosen } = decision;
      if (!chosen) {
        if (recording && content && (await anyFoundAgain(decision))) return undefined;
        return { decision, lastRun, basis };
      }
      // A finished job changes seldom: of one that runs or waits, what is so now is promised.
      const unread = chosen.state === JobState.COMPLETE ? streams.unread(chosen.uuid, position) : undefined;
      const record = streams.current(chosen.uuid) ?? unread?.record ?? (await fresh(chosen.uuid));
      if (!record) {
        candidates = candidates.filter((candidate) => candidate !== chosen);
        continue;
      }
      const same =
        record.job.state === chosen.state &&
        record.deleted === chosen.deleted &&
        (!terms.exclusion || isSameRun(chosen.ran, factsOf(record).ran));
      // With filters, what else is so of it now may matter.
      const facts = same && !filters ? chosen : found.again(record, chosen);
      if (same && facts.failedFilter === undefined) {
        const looking = chosen.state === JobState.COMPLETE ? content?.look(record.job, recording) : undefined;
        const there = looking && (await looking);
        if (there === 'lost') return undefined;
        if (typeof there === 'object') {
          candidates = candidates.map((one) => (one === chosen ? lostNow(one, position, there.detail) : one));
          continue;
        }
        const unchecked = there === 'unchecked' && { contentUnchecked: true };
        const within = unread && { logEndWithin: unread.within };
        return {
          decision,
          record,
          lastRun,
          basis: unchecked || within ? { ...basis, ...within, ...unchecked } : basis,
        };
      }
      looked.push({ uuid: chosen.uuid, revision: record.job.revision });
      candidates = candidates.map((candidate) => (candidate === chosen ? facts : candidate));
    }
  }

  return async (wanted, options = {}) => {
    for (let i = 0; i < maxAttempts; i++) {
      const found = await decide(wanted, options);
      if (found) return found;
    }
    throw contended('outputs are lost and found');
  };
}

/** What exclusions of commits hit of a commit, whatever was run of it. */
function ofCommit(scriptVersion: string): Questioned {
  return { uuid: '', scriptVersion, dockerImageLocator: '', output: '' };
}

/** The terms with inputs for want of which candidates are ruled out. */
function withInputs(terms: ReuseTerms, inputs: readonly WantedInput[]): ReuseTerms {
  const { key } = terms;
  return { ...terms, inputs, ...(key !== undefined && { key: `${key} ${JSON.stringify(inputs)}` }) };
}

/** A candidate whose output or log is found lost now, after everything that was recorded. */
function lostNow(candidate: CandidateFacts, position: Position, detail: string): CandidateFacts {
  return { ...candidate, losses: [...(candidate.losses ?? []), { from: position + 1, detail }] };
}

/** Whether what a filter says of a job may be another thing later. */
function mayChange({ target }: JobFilter): boolean {
  return target.of === 'any' || !lastingFields.has(target.field);
}

/** The candidates that the caller may know of; of the others a decision must not tell that they exist. */
function visible(
  { caller, request: { repository } }: Wanted,
  candidates: readonly CandidateFacts[],
): readonly CandidateFacts[] {
  if (caller.access.knows(repository)) return candidates;
  return candidates.filter(({ owner }) => owner === caller.principal);
}
