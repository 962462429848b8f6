import { Rule } from '../../gen/memoir/jobs/v1/decision_pb.js';
import {
  type CandidateFacts,
  decideBySet1,
  decideBySet2,
  otherCheckout,
  type ReuseDecision,
  type ReuseTerms,
} from './reuse.js';

/**
 * Rules that decisions are taken by. A set never changes once a server has decided by it: its decisions are in logs, and an audit
 * takes them again. Other rules are another set, with the next number.
 */
export type RuleSet = {
  readonly decide: <C extends CandidateFacts>(candidates: readonly C[], terms: ReuseTerms<C>) => ReuseDecision<C>;
  /** Its rules in the order in which they are tried. */
  readonly order: readonly Rule[];
};

/** The rules of set 1 in the order in which they are tried. */
const orderOfSet1: readonly Rule[] = [
  Rule.CODE_PATHS,
  Rule.FILTER,
  Rule.SCRIPT_VERSION,
  Rule.DOCKER_IMAGE_LOCATOR,
  Rule.ARVADOS_SDK_VERSION,
  Rule.CHECKOUT,
  Rule.NONDETERMINISTIC,
  Rule.DELETED,
  Rule.EXCLUDED,
  Rule.STATE,
  Rule.OWNER,
  Rule.NO_OUTPUT,
  Rule.NO_LOG,
  Rule.HEARTBEAT,
  Rule.OUTPUTS_DIFFER,
  Rule.NOT_PREFERRED,
];

/** The rules of set 2 in the order in which they are tried. */
const orderOfSet2: readonly Rule[] = [
  Rule.CODE_PATHS,
  Rule.FILTER,
  Rule.SCRIPT_VERSION,
  Rule.DOCKER_IMAGE_LOCATOR,
  Rule.ARVADOS_SDK_VERSION,
  Rule.CHECKOUT,
  Rule.PLATFORM,
  Rule.SECRETS,
  Rule.SANDBOX,
  Rule.INPUTS,
  Rule.NONDETERMINISTIC,
  Rule.CHECK,
  Rule.DELETED,
  Rule.EXCLUDED,
  Rule.STATE,
  Rule.NO_OUTPUT,
  Rule.NO_LOG,
  Rule.RAN_ELSEWHERE,
  Rule.OUTPUT_LOST,
  Rule.SUPERSEDED,
  Rule.TOO_OLD,
  Rule.OWNER,
  Rule.LABELS,
  Rule.HEARTBEAT,
  Rule.OUTPUTS_DIFFER,
  Rule.NOT_PREFERRED,
];

const sets: ReadonlyMap<number, RuleSet> = new Map([
  [1, { decide: decideBySet1, order: orderOfSet1 }],
  [2, { decide: decideBySet2, order: orderOfSet2 }],
]);

/** Number of the set that this version takes its own decisions by where runs may be shared. */
export const usedRules = 2;

/** The same where they may not, since servers of the last version may be there too. */
export const rulesBefore = 1;

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

/**
 * The candidates that nothing but Rule.CHECKOUT keeps from being an answer, in the order given: whether their commits are plain decides
 * about them.
 */
export function ruledOutByCheckoutAlone<C extends CandidateFacts>(
  candidates: readonly C[],
  terms: ReuseTerms<C>,
): readonly C[] {
  if (!candidates.some((candidate) => otherCheckout(candidate, terms))) return [];
  const { verdicts } = decideReuse(candidates, terms);
  const otherwise = decideReuse(candidates, { ...terms, isPlain: () => true }).verdicts;
  const isAcceptable = (place: number) => {
    const rule = otherwise[place]?.ruledOut?.rule;
    return rule === undefined || comparing.has(rule);
  };
  return candidates.filter((_, i) => verdicts[i] && isByCheckout(verdicts[i]) && isAcceptable(i));
}

/** Rules that tell acceptable candidates apart. */
const comparing: ReadonlySet<Rule> = new Set([Rule.OUTPUTS_DIFFER, Rule.NOT_PREFERRED]);

function isByCheckout({ ruledOut }: { readonly ruledOut?: { readonly rule: Rule } }): boolean {
  return ruledOut?.rule === Rule.CHECKOUT;
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
