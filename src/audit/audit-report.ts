import { type Candidate, type Decision, Outcome, Rule } from '../../gen/memoir/jobs/v1/decision_pb.js';
import { stateName } from '../domain/job.js';
import { ruleName } from '../domain/reuse.js';
import type { Position } from '../eventstore/port.js';

/** Two decisions of one request that are not the same, in short. */
export type Difference = {
  /** What is not the same: "outcome", "uuid", "candidate", "candidate_count" or "funnel". */
  readonly what: string;
  readonly recorded: string;
  readonly derived: string;
};

/** What an audit says of one decision. */
export type Finding = {
  readonly position: Position;
  /** Uuid of the job that was the answer. */
  readonly uuid: string;
  /** "differs"; "underivable" if it cannot be taken again, or where an older version did not record what it was taken from. */
  readonly kind: 'differs' | 'underivable';
  readonly why: string;
  readonly recorded?: Decision;
  readonly derived?: Decision;
  /** Each thing that differs, the first candidate among them. */
  readonly differences: readonly Difference[];
};

/** What an audit of decisions counted. */
export type DecisionsReport = {
  readonly from: Position;
  readonly to: Position;
  /** Decisions that were taken again with the same result. */
  readonly same: number;
  /** Of these, how many by the log before them, since they are recorded without what they were taken from. */
  readonly byLogBefore: number;
  readonly differing: number;
  readonly underivable: number;
};

/** Everything in which two decisions differ but their texts, which are for people and may change with the version. */
export function differencesOf(recorded: Decision, derived: Decision): Difference[] {
  const found: Difference[] = [];
  const compare = (what: string, a: string, b: string) => {
    if (a !== b) found.push({ what, recorded: a, derived: b });
  };
  compare('outcome', outcomeText(recorded), outcomeText(derived));
  compare('uuid', recorded.uuid, derived.uuid);
  compare('candidate_count', String(recorded.candidateCount), String(derived.candidateCount));
  const most = Math.max(recorded.candidates.length, derived.candidates.length);
  for (let i = 0; i < most; i++) {
    const [one, other] = [candidateText(recorded.candidates[i]), candidateText(derived.candidates[i])];
    if (one === other) continue;
    compare('candidate', one, other);
    break;
  }
  compare('funnel', funnelText(recorded), funnelText(derived));
  return found;
}

function outcomeText({ outcome }: Decision): string {
  return Outcome[outcome] ?? String(outcome);
}

function candidateText(candidate: Candidate | undefined): string {
  if (!candidate) return 'none';
  const { uuid, state, ruledOutBy } = candidate;
  const rule = ruledOutBy === Rule.UNSPECIFIED ? 'the answer' : `ruled out by ${ruleName(ruledOutBy)}`;
  return `${uuid}, ${stateName(state)}, ${rule}`;
}

function funnelText({ funnel }: Decision): string {
  return funnel.map(({ rule, ruledOut, left }) => `${ruleName(rule)} ${ruledOut}, ${left} left`).join('; ');
}
