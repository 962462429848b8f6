import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import type { JobFilter } from '../../src/domain/filters/filter.js';
import { likePrefix } from '../../src/domain/filters/like.js';
import { compileFilters } from './job-filters.js';
import type { ListQuery } from './list-query.js';
import type { RequestedBy } from './requested-by.js';
import { type Sql, sql } from './sql.js';

/** How SQLite is to come by the jobs of a list. */
export type AccessPath =
  /** As it thinks best. */
  | { readonly by: 'planner' }
  /** From the newest or the oldest on, until there are enough: what it would not do where it takes the filters for narrow. */
  | { readonly by: 'creation' }
  /** By a label, in the order of the list. */
  | { readonly by: 'label'; readonly name: string; readonly value: string }
  /** By the beginning of uuids, which it would take for wide. */
  | { readonly by: 'uuid' }
  /**
   * By each of these conditions for itself and then together, since an index serves each of them in the order of the list, but
   * not all at once. A job may be found by several.
   */
  | { readonly by: 'branches'; readonly branches: readonly Branch[] };

/** A condition that an index serves in the order of creation; with `answered`, jobs that this principal was answered with, by the index of these. */
export type Branch = { readonly condition: Sql } | { readonly answered: string };

/** Fields that few jobs share a value of. */
const nearlyUnique = ['uuid', 'output'];

/** Fields with an index that goes on with created_at. */
const shared = ['repository', 'owner', 'script_version', 'docker_image_locator', 'arvados_sdk_version', 'state'];

/** Fewest digits of an abbreviated commit that hardly any other commit begins with. */
const shortestAbbreviation = 7;

/** Fewest digits of a shortened uuid that hardly any other begins with: they are random, and so are all that are compared. */
const shortestUuid = 4;

/** Most branches. */
const mostBranches = 16;

/** Chooses by the form of the query alone, since SQLite keeps no statistics of a read model that changes all the time. */
export function accessPath(query: Omit<ListQuery, 'fields'>): AccessPath {
  const { from, asOf, filters, requestedBy, readers, order } = query;
  const [first, second] = order;
  if (from === 'queue' || first.field !== 'created_at' || second) return { by: 'planner' };
  const narrowed = filters.flatMap(narrow);
  const among = (names: readonly string[], most: number) =>
    narrowed.find(({ field, values }) => names.includes(field) && values.length <= most);
  // No index has the states of the past.
  const sharing = asOf === undefined ? shared : shared.filter((name) => name !== 'state');
  if (among(nearlyUnique, Number.POSITIVE_INFINITY)) return { by: 'planner' };
  if (filters.some((filter) => beginsWith(filter, 'uuid', shortestUuid))) return { by: 'uuid' };
  if (requestedBy) return pathOfRequests(requestedBy);
  if (among(sharing, 1)) return { by: 'planner' };
  const [label] = asOf === undefined ? filters.flatMap(labelOf) : [];
  if (label) return { by: 'label', ...label };
  if (filters.some((filter) => beginsWith(filter, 'script_version', shortestAbbreviation))) return { by: 'planner' };
  const several = among(sharing, mostBranches);
  if (several) {
    return { by: 'branches', branches: several.values.map((value) => ({ condition: one(several.filter, value) })) };
  }
  if (readers && readers.repositories.length <= mostBranches - 3) {
    const { principal, repositories } = readers;
    const claimed = asOf === undefined ? 'job.claimed_by' : 'job.final_claimed_by';
    const branches = [
      ...repositories.map((repository) => sql('job.repository = ?', repository)),
      sql('job.owner = ?', principal),
      sql(`${claimed} = ? AND ${claimed} <> ''`, principal),
      // Who claimed it then need not be who claimed it last.
      ...(asOf === undefined
        ? []
        : [sql('job.position IN (SELECT job FROM history.job_turn WHERE worker = ?)', principal)]),
    ];
    return { by: 'branches', branches: branches.map((condition) => ({ condition })) };
  }
  return { by: 'creation' };
}

function pathOfRequests({ open, others, within }: RequestedBy): AccessPath {
  const repositories = others.length === 0 ? [] : within;
  if (2 * open.length + repositories.length > mostBranches) return { by: 'creation' };
  const own = open.flatMap((name): Branch[] => [{ condition: sql('job.owner = ?', name) }, { answered: name }]);
  const theirs = repositories.map((name) => ({ condition: sql('job.repository = ?', name) }));
  const branches = [...own, ...theirs];
  return branches.length === 0 ? { by: 'planner' } : { by: 'branches', branches };
}

/** Whether a filter looks for texts of a field that begin with so many characters or more. */
function beginsWith({ target, test }: JobFilter, field: string, fewest: number): boolean {
  if (target.of !== 'field' || target.field !== field || test.is !== 'like') return false;
  return !test.pattern.fold && likePrefix(test.pattern).length >= fewest;
}

type Narrow = { readonly filter: JobFilter; readonly field: string; readonly values: readonly (string | number)[] };

/** The values that a filter lets a field have, if it does not let it have most of them. */
function narrow(filter: JobFilter): Narrow[] {
  const { target, test } = filter;
  if (target.of !== 'field' || test.is !== 'one of' || test.negate) return [];
  const values = [...new Set(test.values)].filter((value) => typeof value === 'string' || typeof value === 'number');
  const wide = values.length < test.values.length && test.values.includes(null);
  if (wide || (target.field === 'state' && values.includes(JobState.COMPLETE))) return [];
  return [{ filter, field: target.field, values }];
}

function one(filter: JobFilter, value: string | number): Sql {
  return compileFilters([{ ...filter, test: { is: 'one of', values: [value], negate: false } }]).where;
}

/** The label that a filter looks for. */
function labelOf({ target, test }: JobFilter): { readonly name: string; readonly value: string }[] {
  if (target.of !== 'path' || target.field !== 'labels' || test.is !== 'one of' || test.negate) return [];
  const [name] = target.path;
  const [value] = test.values;
  return name !== undefined && test.values.length === 1 && typeof value === 'string' ? [{ name, value }] : [];
}
