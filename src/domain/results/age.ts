import { Rule } from '../../../gen/memoir/jobs/v1/decision_pb.js';

/** What the rule on the age of results looks at in a complete candidate. */
export type AgeFacts = {
  /** When it ran, in milliseconds since 1970-01-01T00:00Z. */
  readonly ran?: { readonly until?: number };
};

/** What a request accepts. */
export type AgeTerms = {
  /** The earliest completion that is accepted, in milliseconds since 1970-01-01T00:00Z; absent for any. */
  readonly oldestResult?: number;
};

/** Whether a complete candidate completed longer ago than the request accepts. One of which that is not known did. */
export function byAge({ ran }: AgeFacts, { oldestResult }: AgeTerms): { rule: Rule; detail: string } | undefined {
  if (oldestResult === undefined) return undefined;
  const completed = ran?.until;
  if (completed !== undefined && completed >= oldestResult) return undefined;
  const its =
    completed === undefined ? 'when it completed is not known' : `it completed at ${new Date(completed).toISOString()}`;
  return { rule: Rule.TOO_OLD, detail: `${its}, accepted is ${new Date(oldestResult).toISOString()} or later` };
}
