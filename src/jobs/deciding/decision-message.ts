import { create } from '@bufbuild/protobuf';
import {
  CandidateSchema,
  type Decision,
  DecisionSchema,
  FunnelStepSchema,
  Outcome,
  ResolutionSchema,
  Rule,
} from '../../../gen/memoir/jobs/v1/decision_pb.js';
import { JobState } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { type CandidateFacts, type ReuseDecision, ruleName, type Verdict } from '../../domain/reuse.js';
import { funnelOf } from '../../domain/rule-sets.js';
import type { ResolvedName } from './resolved-name.js';

/** Most candidates that a decision in short holds. */
const maxCandidates = 20;

/** The decision that a job was made because the request wanted a new one. */
export function createdAsAsked(uuid: string, names: readonly ResolvedName[]): Decision {
  return create(DecisionSchema, {
    resolutions: resolutions(names),
    outcome: Outcome.CREATED_AS_ASKED,
    summary: 'a new job, since the request did not ask for find_or_create',
    uuid,
  });
}

/** The decision that a job was made to run another again. It names that by its run alone: a summary may be told to others. */
export function createdAsRetry(uuid: string, runNumber: number, state: string): Decision {
  return create(DecisionSchema, {
    outcome: Outcome.CREATED_AS_ASKED,
    summary: `a new job, asked for as a retry of run ${runNumber}, which is ${state}`,
    uuid,
  });
}

/** The decision that a job was made to compare what it gives with another. It names that by its run alone: a summary may be told to others. */
export function createdAsCheck(uuid: string, runNumber: number): Decision {
  return create(DecisionSchema, {
    outcome: Outcome.CREATED_AS_ASKED,
    summary: `a new job, to compare what it gives with run ${runNumber}`,
    uuid,
  });
}

/** The decision that a job was made because none could be reused. */
export function createdNoMatch(
  uuid: string,
  decision: ReuseDecision<CandidateFacts>,
  names: readonly ResolvedName[],
  limit = maxCandidates,
): Decision {
  const count = candidateCount(decision);
  return {
    $typeName: DecisionSchema.typeName,
    outcome: Outcome.CREATED_NO_MATCH,
    summary:
      count === 0
        ? 'a new job, since no job computes the same'
        : `a new job, since ${noneOf(decision)}${cureOf(decision)}`,
    uuid,
    ...short(decision, limit),
    resolutions: resolutions(names),
  };
}

/** The decision that a past job is the answer. */
export function reused(
  chosen: Pick<CandidateFacts, 'uuid' | 'state'>,
  decision: ReuseDecision<CandidateFacts>,
  names: readonly ResolvedName[],
  limit = maxCandidates,
): Decision {
  const complete = chosen.state === JobState.COMPLETE;
  const running = chosen.state === JobState.RUNNING;
  const how = complete ? 'complete' : running ? 'running' : 'queued';
  return {
    $typeName: DecisionSchema.typeName,
    outcome: complete ? Outcome.REUSED_COMPLETE : running ? Outcome.REUSED_RUNNING : Outcome.REUSED_QUEUED,
    summary: `job ${chosen.uuid}, which is ${how}, is the same work${codeOf(decision)}`,
    uuid: chosen.uuid,
    ...short(decision, limit),
    resolutions: resolutions(names),
  };
}

/** By which code it is the same, where it has code paths. */
function codeOf({ chosen }: ReuseDecision<CandidateFacts>): string {
  return chosen?.codePaths ? `: the same code at ${chosen.codePaths}, of commit ${chosen.scriptVersion}` : '';
}

/** The decision that a request is a retry of the one that made the job. */
export function retried(uuid: string, submitId: string): Decision {
  return create(DecisionSchema, {
    outcome: Outcome.RETRIED,
    summary: `the job that the first request with submit_id ${JSON.stringify(submitId)} made`,
    uuid,
  });
}

function noneOf(decision: ReuseDecision<CandidateFacts>): string {
  const { verdicts, unlisted = 0 } = decision;
  const counts = new Map<string, number>();
  for (const { ruledOut } of verdicts) {
    const name = ruledOut ? ruleName(ruledOut.rule) : 'none';
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  if (unlisted > 0) counts.set(ruleName(Rule.FILTER), (counts.get(ruleName(Rule.FILTER)) ?? 0) + unlisted);
  const list = [...counts].map(([name, count]) => `${count} by ${name}`).join(', ');
  const count = candidateCount(decision);
  const [one, was] = count === 1 ? ['the one candidate', 'was'] : [`all ${count} candidates`, 'were'];
  const same = decision.unlisted === undefined ? 'computation' : 'parameters';
  return `${one} of the same ${same} ${was} ruled out: ${list}`;
}

/** What to do about outputs that differ, which end reuse until somebody does it. Names no job: a summary may be told to others. */
function cureOf({ verdicts }: ReuseDecision<CandidateFacts>): string {
  if (!verdicts.some(({ ruledOut }) => ruledOut?.rule === Rule.OUTPUTS_DIFFER)) return '';
  return (
    '. To reuse one again, exclude those whose output is wrong (memoir exclude UUID --reason TEXT); where all are right, make the ' +
    'script give the same each time, request it as nondeterministic, or let the server take the oldest (reuse_if_outputs_differ)'
  );
}

function candidateCount({ verdicts, unlisted = 0 }: ReuseDecision<CandidateFacts>): number {
  return verdicts.length + unlisted;
}

function resolutions(names: readonly ResolvedName[]) {
  return names.map(({ field, given, resolved }) => ({
    $typeName: ResolutionSchema.typeName,
    field,
    given,
    resolved,
  }));
}

type Short = ReturnType<typeof shortened>;

const shorts = new WeakMap<ReuseDecision<CandidateFacts>, Short>();

/** The decision in short, kept as long as the decision is, since the same one answers many calls. */
function short(decision: ReuseDecision<CandidateFacts>, limit: number): Short {
  if (limit !== maxCandidates) return shortened(decision, limit);
  const known = shorts.get(decision) ?? shortened(decision, limit);
  shorts.set(decision, known);
  return known;
}

function shortened(decision: ReuseDecision<CandidateFacts>, limit: number) {
  const { chosen, verdicts } = decision;
  const first = verdicts.length > limit ? firstAndChosen(verdicts, chosen, limit) : verdicts;
  return {
    candidates: first.map(({ candidate, ruledOut }) =>
      create(CandidateSchema, {
        uuid: candidate.uuid,
        state: candidate.state,
        ...(ruledOut && { ruledOutBy: ruledOut.rule, detail: ruledOut.detail }),
      }),
    ),
    candidateCount: candidateCount(decision),
    funnel: funnelOf(decision).map((step) => create(FunnelStepSchema, step)),
  };
}

function firstAndChosen(
  verdicts: readonly Verdict<CandidateFacts>[],
  chosen: CandidateFacts | undefined,
  limit: number,
): readonly Verdict<CandidateFacts>[] {
  const first = verdicts.slice(0, limit);
  const answer = verdicts.find(({ candidate }) => candidate === chosen);
  if (!answer || first.includes(answer)) return first;
  return [...first.slice(0, limit - 1), answer];
}
