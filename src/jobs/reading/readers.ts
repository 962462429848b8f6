import type { JobLists } from '../../../projections/lists/job-lists.js';
import type { Readers } from '../../../projections/read-model/readers.js';
import type { JobFilter } from '../../domain/filters/filter.js';
import type { Caller } from '../caller.js';

/**
 * What a list shows the caller: the repositories of the read model whose jobs it may read, beside the jobs that it owns or claimed.
 * Undefined if the filters let nothing through but what it may read.
 */
export async function readersOf(
  lists: Pick<JobLists, 'values'>,
  { principal, access }: Caller,
  filters: readonly JobFilter[],
): Promise<Readers | undefined> {
  if (access.readsAll) return undefined;
  const known = filters.some(({ target, test }) => {
    if (target.of !== 'field' || target.field !== 'repository' || test.is !== 'one of' || test.negate) return false;
    return test.values.every((name) => typeof name === 'string' && access.knows(name));
  });
  if (known) return undefined;
  const { values: all } = await lists.values({ field: 'repository', parametersDigest: undefined }, principal);
  return { principal, repositories: all.filter((name) => access.knows(name)) };
}
