import { Rule } from '../../gen/memoir/jobs/v1/decision_pb.js';
import { type CandidateFacts, decideBySet1, orderOfSet1, type ReuseDecision, type ReuseTerms } from './reuse.js';

/**
 * Rules that decisions are taken by. A set never changes once a server has decided by it: its decisions are in logs, and an audit
 * takes them again. Other rules are another set, with the next number.
 */
export type RuleSet = {
  readonly decide: <C extends CandidateFacts>(candidates: readonly C[], terms: ReuseTerms<C>) => ReuseDecision<C>;
  /** Its rules in the order in which they are tried. */
  readonly order: readonly Rule[];
};

const sets: ReadonlyMap<number, RuleSet> = new Map([[1, { decide: decideBySet1, order: orderOfSet1 }]]);

/** Number of the set that this version takes its own decisions by. */
export const usedRules = 1;

/** Whether this version has the set. */
export function knowsRules(number: number): boolean {
  return sets.has(number);
}

/** The set with a number. @throws Error naming the number if this version does not have it */
function ruleSet(number = 1): RuleSet {
  const set = sets.get(number);
  if (!set) throw new Error(`rule set ${number} is not known to this version`);
  return set;
}

/**
 * Decides, by the set that the terms name, which of the candidates, given oldest first and all with the request's
 * script_parameters, is the same work.
 */
export function decideReuse<C extends CandidateFacts>(
  candidates: readonly C[],
  terms: ReuseTerms<C>,
): ReuseDecision<C> {
  const decision = ruleSet(terms.rules).decide(candidates, terms);
  return terms.rules === undefined || terms.rules === 1 ? decision : { ...decision, rules: terms.rules };
}

/** How many candidates one rule ruled out, and how many were left after it. */
export type FunnelStep = { readonly rule: Rule; readonly ruledOut: number; readonly left: number };

/** The rules that ruled any candidate out, in their order. */
export function funnelOf({ verdicts, unlisted = 0, rules }: ReuseDecision<CandidateFacts>): FunnelStep[] {
  const counts = new Map<Rule, number>([[Rule.FILTER, unlisted]]);
  for (const { ruledOut } of verdicts) {
    if (ruledOut) counts.set(ruledOut.rule, (counts.get(ruledOut.rule) ?? 0) + 1);
  }
  let left = verdicts.length + unlisted;
  const steps: FunnelStep[] = [];
  for (const rule of ruleSet(rules).order) {
    const ruledOut = counts.get(rule) ?? 0;
    left -= ruledOut;
    if (ruledOut > 0) steps.push({ rule, ruledOut, left });
  }
  return steps;
}
