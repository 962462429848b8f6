import { type Candidate, type Decision, Outcome, Rule } from '../../gen/memoir/jobs/v1/decision_pb.js';
import { stateName } from '../domain/job.js';
import { printable } from './printable.js';

/** The decision in one line: what was concluded, and why. */
export function decisionLine(decision: Decision | undefined): string {
  if (!decision) return 'no decision was recorded';
  const summary = decision.summary || (Outcome[decision.outcome] ?? String(decision.outcome)).toLowerCase();
  return printable(summary);
}

/** What became of every candidate, one a line; none if there was none. */
export function candidateLines(decision: Decision | undefined): readonly string[] {
  if (!decision) return [];
  const lines = decision.candidates.map(candidateLine);
  const more = decision.candidateCount - decision.candidates.length;
  return more > 0 ? [...lines, `and ${more} more candidates`] : lines;
}

function candidateLine(candidate: Candidate): string {
  const name = `${printable(candidate.uuid)} ${stateName(candidate.state)}`;
  if (candidate.ruledOutBy === Rule.UNSPECIFIED) return `${name}: the answer`;
  const rule = (Rule[candidate.ruledOutBy] ?? String(candidate.ruledOutBy)).toLowerCase();
  return `${name}: ruled out by ${rule}${candidate.detail === '' ? '' : ` (${printable(candidate.detail)})`}`;
}
