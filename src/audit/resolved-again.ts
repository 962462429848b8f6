import type { DecisionBasis } from '../../gen/memoir/jobs/v1/decision_pb.js';
import type { PastReads } from '../../projections/history/as-of.js';
import { unrestricted } from '../domain/access.js';
import type { CheckedFilters } from '../domain/filters/filter.js';
import { parseFilters } from '../domain/filters/parse-filters.js';
import { imageSearch, imageSetSearch } from '../domain/image-name.js';
import { type ResolvedFilters, resolveSets, type SetsContext } from '../jobs/deciding/filter-sets.js';

/** What filters are resolved again with: images are those of the decision's moment. */
export type ResolvedAgainContext = Pick<SetsContext, 'repositories' | 'lists'> & {
  readonly images: PastReads['images'];
};

/**
 * The filters of a recorded decision as they were resolved: their refspecs stand for the commits that they named then.
 * @throws MemoirError as the repositories do, for one that has lost such a commit
 */
export async function resolvedAgain(
  { repositories, lists, images }: ResolvedAgainContext,
  basis: DecisionBasis,
  scriptVersion: string,
  parametersDigest: string,
  principal: string,
): Promise<ResolvedFilters> {
  const checked = parseFilters(basis.filters);
  const meant = new Map(basis.commits.map((one) => [one.filter, one]));
  const named: CheckedFilters = {
    ...checked,
    sets: checked.sets.map((set) => ({ ...set, names: meant.get(set.index)?.commits ?? set.names })),
  };
  /** The HEAD that a range on arvados_sdk_version ended at. */
  const endOf = (field: string) => basis.commits.find(({ filter }) => field === `filters[${filter}]`)?.end;
  const context: SetsContext = {
    lists,
    images: {
      async locators(text) {
        const search = basis.imagePrefixes ? imageSetSearch(text) : imageSearch(text);
        return search ? images.locators(search) : new Set();
      },
    },
    repositories: {
      resolve: repositories.resolve,
      range: (repository, query) => {
        const refspec = endOf(query.end.field) || query.end.refspec;
        return repositories.range(repository, { ...query, end: { ...query.end, refspec } });
      },
    },
  };
  const caller = { principal, access: unrestricted(principal), requestId: 'audit' };
  const { ownComponents } = basis;
  const codeDigests = new Map(basis.commits.map((one) => [one.filter, one.codeDigests]));
  const options = { end: scriptVersion, parametersDigest, recorded: true, ownComponents, codeDigests };
  return resolveSets(context, caller, named, options);
}
