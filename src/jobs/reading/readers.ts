import type { JobLists } from '../../../projections/lists/job-lists.js';
import type { RequestedBy } from '../../../projections/lists/requested-by.js';
import { type Knowing, secretFields } from '../../../projections/lists/told-fields.js';
import type { Readers } from '../../../projections/read-model/readers.js';
import type { JobFilter } from '../../domain/filters/filter.js';
import type { Caller } from '../caller.js';

/**
 * Whose requests a list is about, as far as the caller may know who asked for what: all of its own, and of others those in repositories that it
 * administers.
 */
export async function requestedByOf(
  lists: Pick<JobLists, 'values'>,
  { principal, access }: Caller,
  names: readonly string[],
): Promise<RequestedBy> {
  if (access.administersAll) return { open: names, others: [], within: [] };
  const open = names.filter((name) => name === principal);
  const others = names.filter((name) => name !== principal);
  if (others.length === 0) return { open, others, within: [] };
  const within = (await repositoriesOf(lists, principal)).filter((name) => access.administers(name));
  return { open, others: within.length === 0 ? [] : others, within };
}

/**
 * What the caller knows of the fields of jobs that are not told to every reader; undefined if everything, or if the filters look at none of them.
 */
export async function knowingOf(
  lists: Pick<JobLists, 'values'>,
  { principal, access }: Caller,
  filters: readonly JobFilter[],
): Promise<Knowing | undefined> {
  const looks = ({ target }: JobFilter) =>
    target.of === 'any' || (target.of === 'field' && secretFields.includes(target.field));
  if (access.administersAll || !filters.some(looks)) return undefined;
  const all = await repositoriesOf(lists, principal);
  return { principal, administered: all.filter((name) => access.administers(name)) };
}

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
  const all = await repositoriesOf(lists, principal);
  return { principal, repositories: all.filter((name) => access.knows(name)) };
}

/** All repositories of which the read model has jobs. */
async function repositoriesOf(lists: Pick<JobLists, 'values'>, principal: string): Promise<readonly string[]> {
  return (await lists.values({ field: 'repository', parametersDigest: undefined }, principal)).values;
}
