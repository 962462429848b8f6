import type { PastReads } from '../../projections/history/as-of.js';
import { mentionsOf } from '../domain/lineage.js';
import type { Position } from '../eventstore/port.js';
import type { Repositories } from '../git/port.js';
import { pace } from '../jobs/pace.js';
import type { DecidingExclusions, ExclusionsAsOf } from '../jobs/ports/exclusions.js';
import { type CommitRanges, commitRanges } from './commit-ranges.js';
import { exclusionDetail } from './exclusion-detail.js';
import { learnCandidates } from './learn-candidates.js';
import { type Standing, standingExclusions } from './standing.js';
import { unfitOutput } from './upstream.js';

/** Exclusions that are read at once. */
const pageSize = 250;

/** The exclusions that stand at some moment, and those of them with cascade. */
export type StandingThen = {
  readonly standing: Standing;
  readonly cascading: Standing;
};

/** Reads the exclusions that stand at the moment of the reads. */
export async function standingAsOf(exclusions: PastReads['exclusions']): Promise<StandingThen> {
  const breathe = pace();
  const rows = [];
  for (let before = Number.MAX_SAFE_INTEGER; ; ) {
    const page = exclusions.list({ includeReinstated: false, before, limit: pageSize });
    rows.push(...page);
    await breathe();
    if (page.length < pageSize) break;
    before = (page.at(-1) as (typeof page)[number]).position;
  }
  const standing = standingExclusions();
  const cascading = standingExclusions();
  for (const { exclusion } of rows.reverse()) {
    standing.add(exclusion);
    if (exclusion.cascade) cascading.add(exclusion);
  }
  return { standing, cascading };
}

/**
 * The exclusions as decisions of a moment obeyed them. They follow nothing: a cascade is searched for anew for each request, from its
 * parameters upstream.
 */
export function exclusionRulesAsOf(
  { standing, cascading }: StandingThen,
  reads: Pick<PastReads, 'lineage' | 'exclusions' | 'jobs'>,
  ranges: CommitRanges,
  position: Position,
): DecidingExclusions {
  return {
    any: () => standing.size() > 0,
    position: () => ({ standing: position, changed: position, followed: position }),
    async ruleFor(question) {
      if (standing.size() === 0) return undefined;
      const { repository, parameters } = question;
      await learnCandidates(ranges, standing, question);
      const { lineage } = reads;
      const unfit =
        cascading.size() > 0 ? await unfitOutput({ lineage, ranges }, cascading, mentionsOf(parameters())) : undefined;
      return (candidate) => {
        const job = { ...candidate, repository: candidate.repository ?? repository };
        for (const exclusion of standing.hitting(job, ranges.has)) return { exclusion };
        return unfit;
      };
    },
    textOf: (excluded, access) => exclusionDetail(reads, excluded, access),
  };
}

/** The exclusions of any moment. What was learnt of ranges of commits, which never changes, is kept. */
export function exclusionsOfThePast(repositories: Pick<Repositories, 'isAncestor'>): ExclusionsAsOf {
  const ranges = commitRanges(repositories);
  return async (reads, position) => exclusionRulesAsOf(await standingAsOf(reads.exclusions), reads, ranges, position);
}
