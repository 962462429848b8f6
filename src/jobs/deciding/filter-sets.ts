import { setImmediate } from 'node:timers/promises';
import type { ValuesQuery } from '../../../projections/lists/distinct-values.js';
import { invalid, quote } from '../../domain/errors.js';
import { jobFields } from '../../domain/filters/field.js';
import type { CheckedFilters, JobFilter, NamedSet } from '../../domain/filters/filter.js';
import { placeOfCommits } from '../../domain/filters/parse-filters.js';
import type { Position } from '../../eventstore/port.js';
import type { CommitRange, Repositories } from '../../git/port.js';
import type { Caller } from '../caller.js';
import type { DecidingContext } from '../context.js';
import { checkKnows } from '../reading/permit.js';
import type { ResolvedName } from './resolved-name.js';

/** What sets are resolved with. */
export type SetsContext = {
  readonly repositories: Pick<Repositories, 'resolve' | 'range'>;
  readonly images: Pick<DecidingContext['images'], 'locators'>;
  readonly lists: Pick<DecidingContext['lists'], 'values'>;
};

/** What a filter on commits ends at. */
export type SetsOptions = {
  /** Commit of the job that is submitted; without it the end is the repository's HEAD. */
  readonly end?: string;
  /** The only candidates that matter are jobs with these parameters. */
  readonly parametersDigest?: string;
  /**
   * The code of the job that is submitted: filters on its commit then stand for commits with the same code too, those that keep commits out for all
   * with the code of these. Absent for the whole commit.
   */
  readonly code?: {
    readonly digest: string;
    /** Code digests of commits of a repository. */
    readonly digestsOf: (repository: string, commits: readonly string[]) => Promise<readonly string[]>;
  };
  /** Of a decision that was recorded: code digests that a filter, by its place, stood for. */
  readonly codeDigests?: ReadonlyMap<number, readonly string[]>;
  /** Whether the filters are those of a decision that was recorded, and are not judged again. */
  readonly recorded?: boolean;
  /** Of a decision that was recorded: whether its filters on components were told of the principal's own jobs alone. */
  readonly ownComponents?: boolean;
};

/** Filters whose commits and images were resolved. */
export type ResolvedFilters = {
  readonly resolutions: readonly ResolvedName[];
  /**
   * The filters as they can be told of a job by itself, for the jobs that the read model has now. Of a range of commits they name
   * those that jobs have, which are fewer than the range has.
   */
  now(): Promise<readonly JobFilter[]>;
  /** Whether filters on components are told of the caller's own jobs alone, since it may not read all of them. */
  readonly ownComponents: boolean;
  /** The commits that filters stand for, by the place of the filter. */
  readonly commits: readonly CommitsOfFilter[];
  /** Position of the log whose jobs the last `now` named commits of, the least if there were several; undefined if it named none. */
  commitsOf(): Position | undefined;
};

/** What a filter on commits stands for: these, or the ranges that begin at them and end at another; and with code paths the commits of jobs with some code. */
export type CommitsOfFilter = {
  readonly filter: number;
  readonly commits: readonly string[];
  readonly end?: string;
  /** Code digests of jobs whose commits it stands for too; absent for none. */
  readonly codeDigests?: readonly string[];
};

/** How many times a commit is looked up in a range before others have their turn. */
const slice = 20_000;

/**
 * Resolves the commits and images that filters name.
 * @throws MemoirError INVALID_ARGUMENT naming the filter and the refspec that cannot be resolved, for a
 * repository that the caller may not know of as for one that is not configured; or what the repositories and lists throw
 */
export async function resolveSets(
  context: SetsContext,
  caller: Caller,
  checked: CheckedFilters,
  options: SetsOptions = {},
): Promise<ResolvedFilters> {
  const resolutions: ResolvedName[] = [];
  const commits: CommitsOfFilter[] = [];
  const sets: { readonly set: NamedSet; readonly values: SetValues['values'] }[] = [];
  let commitsOf: Position | undefined;
  for (const set of checked.sets) {
    if (set.operator.endsWith('in git')) checkKnows(caller, placeOfCommits(set, checked));
    const { values, resolved, meant } = await valuesOf(context, set, checked, options, caller);
    if (meant) commits.push({ filter: set.index, ...meant });
    for (const [i, given] of set.names.entries()) {
      resolutions.push({ field: `filters[${set.index}]`, given, resolved: resolved[i] ?? '' });
    }
    sets.push({ set, values });
  }
  const own = ownComponents(caller, checked, options);
  return {
    resolutions,
    commits,
    ownComponents: own.length > 0,
    commitsOf: () => commitsOf,
    async now() {
      // These first, since what a filter on components says of a job would tell what it compares.
      const filters = [...own, ...checked.plain];
      commitsOf = undefined;
      for (const { set, values } of sets) {
        const those = await values();
        filters.push(asFilter(set, those.values));
        if (those.position !== undefined) commitsOf = Math.min(commitsOf ?? those.position, those.position);
      }
      return filters.sort((a, b) => a.index - b.index);
    },
  };
}

/**
 * What filters on components need beside them, where not all jobs may be read: the uuids in them are told to the owner of a job alone,
 * and a filter would tell them too.
 */
function ownComponents(
  { access, principal }: Caller,
  { plain }: CheckedFilters,
  { recorded = false, ownComponents: owned = false }: SetsOptions,
): readonly JobFilter[] {
  const first = plain.find(({ target }) => target.of !== 'any' && target.field === 'components');
  if (!first || (recorded ? !owned : access.readsAll)) return [];
  const { index, text } = first;
  const target = { of: 'field', field: 'owner', property: 'owner', kind: 'text' } as const;
  const why = 'components are told to the owner of a job alone';
  return [{ index, text, target, test: { is: 'one of', values: [principal], negate: false }, why }];
}

/** The values of a set, and what each of its names resolved to, for people. */
type SetValues = {
  readonly values: () => Promise<{ readonly values: readonly string[]; readonly position?: Position }>;
  readonly resolved: readonly string[];
  readonly meant?: Omit<CommitsOfFilter, 'filter'>;
};

function valuesOf(
  context: SetsContext,
  set: NamedSet,
  checked: CheckedFilters,
  options: SetsOptions,
  caller: Caller,
): Promise<SetValues> {
  const { repositories, images, lists } = context;
  switch (set.operator) {
    case 'in docker':
    case 'not in docker':
      return locators(images, set, options);
    case 'not in git':
      return commits(context, placeOfCommits(set, checked), set, options, caller);
    case 'in git':
      return commitsInRanges(repositories, lists, placeOfCommits(set, checked), set, options, caller);
  }
}

function asFilter({ index, text, field, operator }: NamedSet, values: readonly string[]): JobFilter {
  const property = jobFields.get(field)?.property ?? field;
  return {
    index,
    text,
    target: { of: 'field', field, property, kind: 'text' },
    test: { is: 'one of', values, negate: operator.startsWith('not') },
  };
}

async function locators(
  images: SetsContext['images'],
  { index, names, operator }: NamedSet,
  { recorded = false }: SetsOptions,
): Promise<SetValues> {
  const find = () => Promise.all(names.map((name) => images.locators(name)));
  const found = await find();
  const unknown = names.find((_, i) => found[i]?.size === 0);
  if (operator === 'not in docker' && unknown !== undefined && !recorded) {
    const what = `filters[${index}]: ${quote(unknown)} is no image that was ever registered, so that "not in docker" would keep nothing out`;
    throw invalid(`filters[${index}]`, 'UNKNOWN_IMAGE', what);
  }
  return {
    // Anew, so that they are of the moment of the jobs.
    values: async () => ({ values: [...new Set((await find()).flatMap((those) => [...those]))] }),
    resolved: found.map(({ size }) => `${size} ${size === 1 ? 'image' : 'images'}`),
  };
}

async function commits(
  { repositories, lists }: Pick<SetsContext, 'repositories' | 'lists'>,
  repository: string,
  set: NamedSet,
  { code, codeDigests: recorded, parametersDigest }: SetsOptions,
  { principal }: Caller,
): Promise<SetValues> {
  const field = `filters[${set.index}]`;
  const resolved: string[] = [];
  for (const name of set.names) resolved.push(await repositories.resolve(repository, name, { field }));
  const values = [...new Set(resolved)];
  const codeDigests =
    recorded?.get(set.index) ?? (code && isOfScript(set) ? await code.digestsOf(repository, values) : []);
  if (codeDigests.length === 0) return { values: async () => ({ values }), resolved, meant: { commits: values } };
  return {
    async values() {
      const query: ValuesQuery = { field: 'script_version', parametersDigest, codeDigests };
      const { ofCode = [], position } = await lists.values(query, principal);
      return { values: [...new Set([...values, ...ofCode])], position };
    },
    resolved,
    meant: { commits: values, codeDigests },
  };
}

async function commitsInRanges(
  repositories: SetsContext['repositories'],
  lists: SetsContext['lists'],
  repository: string,
  set: NamedSet,
  { end, parametersDigest, code, codeDigests: recorded }: SetsOptions,
  { principal }: Caller,
): Promise<SetValues> {
  const field = `filters[${set.index}]`;
  const own = set.field === 'script_version' ? end : undefined;
  const ranges: CommitRange[] = [];
  for (const refspec of set.names) {
    const query = { end: { refspec: own ?? 'HEAD', field }, minimum: { refspec, field } };
    ranges.push(await repositories.range(repository, query));
  }
  const codeDigests = recorded?.get(set.index) ?? (code && isOfScript(set) ? [code.digest] : []);
  const query: ValuesQuery = {
    field: set.field as ValuesQuery['field'],
    parametersDigest,
    ...(codeDigests.length > 0 && { codeDigests }),
  };
  return {
    async values() {
      if (ranges.length === 0) return { values: [] };
      const { values, ofCode = [], position } = await lists.values(query, principal);
      return { values: [...new Set([...(await within(ranges, values)), ...ofCode])], position };
    },
    ...(ranges[0] && {
      meant: {
        commits: ranges.map(({ minimum }) => minimum ?? ''),
        end: ranges[0].end,
        ...(codeDigests.length > 0 && { codeDigests }),
      },
    }),
    resolved: ranges.map(({ size, minimum, end: last }) => {
      return `${size} ${size === 1 ? 'commit' : 'commits'} from ${minimum} to ${own === undefined ? 'HEAD, ' : ''}${last}`;
    }),
  };
}

/** Whether the commits are those of scripts, and not of the SDK. */
function isOfScript({ field }: NamedSet): boolean {
  return field === 'script_version';
}

async function within(ranges: readonly CommitRange[], run: readonly string[]): Promise<readonly string[]> {
  const inside: string[] = [];
  const turn = Math.ceil(slice / ranges.length);
  for (let i = 0; i < run.length; i++) {
    const commit = run[i] as string;
    if (ranges.some((range) => range.has(commit))) inside.push(commit);
    if (i % turn === turn - 1) await setImmediate();
  }
  return inside;
}
