import type { Question } from '../jobs/ports/exclusions.js';
import type { CommitRanges } from './commit-ranges.js';
import type { Standing } from './standing.js';

/** Learns of the candidates of a question whether their commits are in the ranges that are excluded. */
export async function learnCandidates(
  ranges: CommitRanges,
  standing: Standing,
  { repository, candidates }: Pick<Question, 'repository' | 'candidates'>,
): Promise<void> {
  for (const of of new Set(candidates.map((candidate) => candidate.repository ?? repository))) {
    const those = candidates.filter((candidate) => (candidate.repository ?? repository) === of);
    const commits = new Set(those.map(({ scriptVersion }) => scriptVersion));
    for (const { target } of standing.ranges(of)) {
      if (target.case === 'commitRange') await ranges.learn(target.value, commits);
    }
  }
}
