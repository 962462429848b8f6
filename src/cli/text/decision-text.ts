import { type Candidate, type Decision, Outcome, Rule } from '../../../gen/memoir/jobs/v1/decision_pb.js';
import { stateName } from '../../domain/job.js';
import { ruleName } from '../../domain/reuse.js';
import { printable } from './printable.js';

/** The decision in one line: what was concluded, and why. */
export function decisionLine(decision: Decision | undefined): string {
  if (!decision) return 'no decision was recorded';
  const summary = decision.summary || (Outcome[decision.outcome] ?? String(decision.outcome)).toLowerCase();
  return printable(summary);
}

/** What the decision was made from, one fact a line: what names resolved to, how each rule narrowed, and every candidate. */
export function evidenceLines(decision: Decision | undefined): readonly string[] {
  if (!decision) return [];
  const { resolutions, funnel, candidates, candidateCount } = decision;
  const more = candidateCount - candidates.length;
  return [
    ...resolutions.map(
      ({ field, given, resolved }) => `${printable(field)} ${printable(given)} is ${printable(resolved)}`,
    ),
    ...funnel.map(({ rule, ruledOut, left }) => `${ruleName(rule)} ruled out ${ruledOut}, ${left} left`),
    ...candidates.map((candidate) => `candidate ${candidateLine(candidate)}`),
    ...(more > 0 ? [`and ${more} more candidates`] : []),
  ];
}

function candidateLine(candidate: Candidate): string {
  const name = `${printable(candidate.uuid)} ${stateName(candidate.state)}`;
  if (candidate.ruledOutBy === Rule.UNSPECIFIED) return `${name}: the answer`;
  return `${name}: ruled out by ${ruleName(candidate.ruledOutBy)}${candidate.detail === '' ? '' : ` (${printable(candidate.detail)})`}`;
}
