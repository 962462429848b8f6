import type { CandidateFacts, ReuseDecision, ReuseTerms } from '../../domain/reuse.js';
import { decideReuse } from '../../domain/rule-sets.js';
import type { PlainCommits } from './plain-commits.js';

/** A decision, and the commits that it counted as plain. */
export type Decided = { readonly decision: ReuseDecision<CandidateFacts>; readonly plain: readonly string[] };

/**
 * Decisions that are remembered, for terms with a key, as long as their candidates are kept: a computation with thousands of runs is not
 * gone through again for every call.
 */
export type RememberedDecisions = {
  known(candidates: readonly CandidateFacts[], terms: ReuseTerms): Decided | undefined;
  /** Decides, and remembers it unless more may be known of the commits later. */
  take(candidates: readonly CandidateFacts[], terms: ReuseTerms, commits: PlainCommits): Decided;
};

/** One for each principal and commit: more than a few are not asked for between two changes of a computation. */
const remembered = 16;

/** Makes it. */
export function rememberedDecisions(): RememberedDecisions {
  const known = new WeakMap<readonly CandidateFacts[], Map<string, Decided>>();
  return {
    known(candidates, { key, exclusion }) {
      return key === undefined || exclusion ? undefined : known.get(candidates)?.get(key);
    },
    take(candidates, terms, { plain, untold }) {
      const isPlain = plain.length === 0 ? undefined : (commit: string) => plain.includes(commit);
      const decided = { decision: decideReuse(candidates, isPlain ? { ...terms, isPlain } : terms), plain };
      const { key, exclusion } = terms;
      if (key === undefined || exclusion || untold) return decided;
      const decisions = known.get(candidates) ?? new Map<string, Decided>();
      if (decisions.size >= remembered) decisions.clear();
      known.set(candidates, decisions.set(key, decided));
      return decided;
    },
  };
}
