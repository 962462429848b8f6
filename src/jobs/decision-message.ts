import { create } from '@bufbuild/protobuf';
import { CandidateSchema, type Decision, DecisionSchema, Outcome } from '../../gen/memoir/jobs/v1/decision_pb.js';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { type CandidateFacts, type ReuseDecision, ruleName, type Verdict } from '../domain/reuse.js';

/** Most candidates that a decision in short holds. */
const maxCandidates = 20;

/** The decision that a job was made because the request wanted a new one. */
export function createdAsAsked(uuid: string): Decision {
  return create(DecisionSchema, {
    outcome: Outcome.CREATED_AS_ASKED,
    summary: 'a new job, since the request did not ask for find_or_create',
    uuid,
  });
}

/** The decision that a job was made because none could be reused. */
export function createdNoMatch(uuid: string, decision: ReuseDecision<CandidateFacts>): Decision {
  const count = decision.verdicts.length;
  return create(DecisionSchema, {
    outcome: Outcome.CREATED_NO_MATCH,
    summary: count === 0 ? 'a new job, since no job computes the same' : `a new job, since ${noneOf(decision)}`,
    uuid,
    ...short(decision),
  });
}

/** The decision that a past job is the answer. */
export function reused(chosen: CandidateFacts, decision: ReuseDecision<CandidateFacts>): Decision {
  const complete = chosen.state === JobState.COMPLETE;
  const running = chosen.state === JobState.RUNNING;
  const how = complete ? 'complete' : running ? 'running' : 'queued';
  return create(DecisionSchema, {
    outcome: complete ? Outcome.REUSED_COMPLETE : running ? Outcome.REUSED_RUNNING : Outcome.REUSED_QUEUED,
    summary: `job ${chosen.uuid}, which is ${how}, is the same work`,
    uuid: chosen.uuid,
    ...short(decision),
  });
}

/** The decision that a request is a retry of the one that made the job. */
export function retried(uuid: string, submitId: string): Decision {
  return create(DecisionSchema, {
    outcome: Outcome.RETRIED,
    summary: `the job that the first request with submit_id ${JSON.stringify(submitId)} made`,
    uuid,
  });
}

function noneOf({ verdicts }: ReuseDecision<CandidateFacts>): string {
  const counts = new Map<string, number>();
  for (const { ruledOut } of verdicts) {
    const name = ruledOut ? ruleName(ruledOut.rule) : 'none';
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const list = [...counts].map(([name, count]) => `${count} by ${name}`).join(', ');
  const [one, was] =
    verdicts.length === 1 ? ['the one candidate', 'was'] : [`all ${verdicts.length} candidates`, 'were'];
  return `${one} of the same computation ${was} ruled out: ${list}`;
}

function short({ chosen, verdicts }: ReuseDecision<CandidateFacts>) {
  const first = verdicts.length > maxCandidates ? firstAndChosen(verdicts, chosen) : verdicts;
  return {
    candidates: first.map(({ candidate, ruledOut }) =>
      create(CandidateSchema, {
        uuid: candidate.uuid,
        state: candidate.state,
        ...(ruledOut && { ruledOutBy: ruledOut.rule, detail: ruledOut.detail }),
      }),
    ),
    candidateCount: verdicts.length,
  };
}

function firstAndChosen(
  verdicts: readonly Verdict<CandidateFacts>[],
  chosen: CandidateFacts | undefined,
): readonly Verdict<CandidateFacts>[] {
  const first = verdicts.slice(0, maxCandidates);
  const answer = verdicts.find(({ candidate }) => candidate === chosen);
  if (!answer || first.includes(answer)) return first;
  return [...first.slice(0, maxCandidates - 1), answer];
}
