import { LRUCache } from 'lru-cache';
import type { CommitRangeTarget } from '../../gen/memoir/jobs/v1/exclusion_pb.js';
import { MemoirError } from '../domain/errors.js';
import type { InRange } from '../domain/exclusions.js';
import type { Repositories } from '../git/port.js';

/** Which commits are in which ranges, as far as it was learnt. */
export type CommitRanges = {
  /**
   * Learns of some commits whether they are in a range; gives nothing to wait for if all of that is known.
   * @throws MemoirError UNAVAILABLE if it cannot be told now but can be soon
   */
  learn(range: CommitRangeTarget, commits: Iterable<string>): Promise<void> | undefined;
  /** What was learnt; undefined for a commit that the repository does not have, or that was never asked for. */
  has: InRange;
};

/** Verdicts that are kept. They never change, since the history of a commit does not. */
const kept = 262_144;

/** Starts knowing nothing. */
export function commitRanges(repositories: Pick<Repositories, 'isAncestor'>): CommitRanges {
  const verdicts = new LRUCache<string, boolean>({ maxSize: kept, sizeCalculation: () => 1 });
  const key = ({ repository, introducedBy, fixedBy }: CommitRangeTarget, commit: string) =>
    `${introducedBy}:${fixedBy}:${commit}:${repository}`;

  /** As `isAncestor`; what will not be mended by itself soon is left untold. */
  async function inHistory(repository: string, ancestor: string, commits: readonly string[]) {
    try {
      return await repositories.isAncestor(repository, ancestor, commits);
    } catch (error) {
      if (!(error instanceof MemoirError) || error.code === 'UNAVAILABLE') throw error;
      return [];
    }
  }

  async function ask(range: CommitRangeTarget, commits: readonly string[]): Promise<void> {
    const { repository, introducedBy, fixedBy } = range;
    const introduced = await inHistory(repository, introducedBy, commits);
    const fixed = fixedBy === '' ? undefined : await inHistory(repository, fixedBy, commits);
    for (const [i, commit] of commits.entries()) {
      const [begun, ended] = [introduced[i], fixed ? fixed[i] : false];
      if (begun === false || ended === true) verdicts.set(key(range, commit), false);
      else if (begun === true && ended === false) verdicts.set(key(range, commit), true);
    }
  }

  return {
    learn(range, commits) {
      const unknown = new Set<string>();
      for (const commit of commits) if (verdicts.get(key(range, commit)) === undefined) unknown.add(commit);
      return unknown.size === 0 ? undefined : ask(range, [...unknown]);
    },
    has: (range, commit) => verdicts.get(key(range, commit)),
  };
}
