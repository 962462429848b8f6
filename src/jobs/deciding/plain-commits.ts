import type { CandidateFacts, ReuseTerms } from '../../domain/reuse.js';
import { ruledOutByCheckoutAlone } from '../../domain/rule-sets.js';
import type { Repositories } from '../../git/port.js';

/** Most commits that one decision asks about, since it records those that are plain. */
const mostAsked = 256;

/** What is known of the commits of candidates. */
export type PlainCommits = {
  /** Commits without submodules and filters. */
  readonly plain: readonly string[];
  /** Whether of one it could not be told now. */
  readonly untold: boolean;
};

const noneAsked: PlainCommits = { plain: [], untold: false };

/**
 * Which commits of candidates are plain, of those by which the rule on checkouts alone rules candidates out; of the oldest candidates if there are
 * too many. A commit of which it cannot be told counts as not plain.
 * @param repository - that of candidates that name none
 */
export async function plainCommits(
  repositories: Pick<Repositories, 'isPlain'>,
  repository: string,
  candidates: readonly CandidateFacts[],
  terms: ReuseTerms,
): Promise<PlainCommits> {
  const doubtful = ruledOutByCheckoutAlone(candidates, terms);
  if (doubtful.length === 0) return noneAsked;
  const places = new Map(doubtful.map((one) => [one.scriptVersion, one.repository ?? repository]));
  const asked = [...places].slice(0, mostAsked);
  const answers = await Promise.all(asked.map(([commit, where]) => repositories.isPlain(where, commit)));
  return {
    plain: asked.flatMap(([commit], i) => (answers[i] ? [commit] : [])),
    untold: answers.includes(undefined),
  };
}
