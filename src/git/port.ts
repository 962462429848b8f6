import type { CodeEntry } from '../domain/code/code-digest.js';
import type { Changes, ChangesQuery } from './code/changed-paths.js';
import type { CodeFound, CodeQuery } from './code/code-at.js';
import type { CodeDifference } from './code/first-difference.js';

/** Who asks, where that matters: searches take turns by principal, and end when nobody waits for them any more. */
export type Asking = {
  readonly principal: string;
  /** Aborts when nobody waits for the answer any more. */
  readonly signal?: () => AbortSignal;
};

/** What a caller asked for, so that an error can name the field. */
export type ResolveOptions = {
  /** Request field that holds the refspec; `script_version` unless given. */
  readonly field?: string;
};

/** A refspec and the request field that holds it. */
export type NamedRefspec = { readonly refspec: string; readonly field: string };

/**
 * Which commits are meant: with a minimum R those that are reachable from the end and not from R, plus R itself, parallel
 * branches included; without one, the end alone. Of them, the excluded commits are taken out.
 */
export type RangeQuery = {
  /** The end; `HEAD` for filters that have no job's own `script_version`. */
  readonly end: NamedRefspec;
  readonly minimum?: NamedRefspec;
  /** Each names one commit, which is taken out; its ancestors and descendants are not. */
  readonly exclude?: readonly NamedRefspec[];
};

/** The commits that a query meant at the moment it was asked. It stays as it is when refs move. */
export type CommitRange = {
  /** The commits that the refspecs named. */
  readonly end: string;
  readonly minimum: string | undefined;
  readonly excluded: readonly string[];
  /** Commits in the range. */
  readonly size: number;
  /** Whether a commit, in lower-case hexadecimal digits, is in the range; takes less than a microsecond. */
  has(commit: string): boolean;
  /**
   * The commits of the range, every one before its parents and otherwise the youngest first; a minimum that the end does not
   * reach comes last. Gives way to other work now and then.
   */
  commits(): AsyncIterable<string>;
};

/** What a commit has at the path of a script, symbolic links followed; files near it if it has nothing there. */
export type ScriptFound =
  | { readonly kind: 'executable' | 'file' | 'directory' | 'submodule' }
  | { readonly kind: 'missing'; readonly near: readonly string[] };

/** How many objects, and bytes of them, had to be copied for a commit to be kept. */
export type KeptCommit = { readonly objects: number; readonly bytes: number };

/** The configured git repositories as the rest of Memoir sees them. */
export type Repositories = {
  /** Names of the configured repositories, sorted. */
  names(): readonly string[];
  /**
   * The commit, in lower-case hexadecimal digits, that a refspec names in a repository now. Nothing is cached that a moved ref
   * would make wrong.
   * @throws MemoirError INVALID_ARGUMENT: UNKNOWN_REPOSITORY, BAD_REFSPEC (no refspec that can name one commit), or
   * UNRESOLVABLE_REFSPEC, each naming the value; UNAVAILABLE REPOSITORY_UNAVAILABLE if the repository cannot be read now;
   * DATA_LOSS REPOSITORY_DAMAGED naming repository and object; RESOURCE_EXHAUSTED SEARCH_TOO_LONG for a search in messages; the reason of
   * the signal of who asks
   */
  resolve(repository: string, refspec: string, options?: ResolveOptions): Promise<string>;
  /**
   * The commits that a query means in a repository now. The first query of a repository loads its history.
   * @throws MemoirError as `resolve` does; UNAVAILABLE HISTORY_LOADING, with the progress, while the history takes long to load;
   * FAILED_PRECONDITION SHALLOW_REPOSITORY if the history is cut off and the query has another minimum than its end
   */
  range(repository: string, query: RangeQuery): Promise<CommitRange>;
  /** `resolve` and `range` on behalf of somebody. */
  askedBy(asking: Asking): Pick<Repositories, 'resolve' | 'range'>;
  /**
   * For each of the commits, whether another one is in its history, itself included; undefined for what is no commit of the
   * repository now, and for all if the other one is none. Takes microseconds where it was asked for the same other one before.
   * @throws MemoirError as `range` does
   */
  isAncestor(
    repository: string,
    ancestor: string,
    commits: readonly string[],
  ): Promise<readonly (boolean | undefined)[]>;
  /**
   * Whether a checkout of a commit is the same whether pointers of git-lfs and submodules are left or refused: its tree has no submodule, and
   * no file `.gitattributes` that mentions a filter. Undefined if that cannot be told now, whatever the reason; nothing is fetched for
   * it. What was told once is remembered, since a commit never changes.
   */
  isPlain(repository: string, commit: string): Promise<boolean | undefined>;
  /** What a commit has at the path of a script. Undefined and remembered as with `isPlain`. */
  script(repository: string, commit: string, path: string): Promise<ScriptFound | undefined>;
  /**
   * What a commit, which was resolved, has at normal code paths. It is remembered, since a commit never changes.
   * @throws MemoirError UNAVAILABLE REPOSITORY_UNAVAILABLE; DATA_LOSS for what is damaged or missing; FAILED_PRECONDITION UNSAFE_TREE;
   * RESOURCE_EXHAUSTED CODE_TOO_LARGE
   */
  code(repository: string, query: CodeQuery): Promise<CodeFound>;
  /** The first path at which what two commits have at one code path differs; undefined if nothing does, or that cannot be told now. */
  codeDifference(repository: string, one: CodeEntry, other: CodeEntry): Promise<CodeDifference | undefined>;
  /**
   * The paths at which two commits differ, which were resolved.
   * @throws MemoirError UNAVAILABLE REPOSITORY_UNAVAILABLE; DATA_LOSS for what is damaged or missing; FAILED_PRECONDITION UNSAFE_TREE; what the signal was aborted with
   */
  changes(repository: string, query: ChangesQuery, signal: AbortSignal): Promise<Changes>;
  /**
   * Copies a commit with its tree to where the commits of jobs are kept, so that the repository may lose it, and sets the ref of
   * the job there. What is there already is not written again.
   * @throws MemoirError NOT_FOUND OBJECT_MISSING if the repository does not have all of it; FAILED_PRECONDITION UNSAFE_TREE or
   * DATA_LOSS for what cannot be checked out either; RESOURCE_EXHAUSTED KEEP_TOO_LARGE; UNAVAILABLE if the repository cannot be
   * read or fetched now; or what the system says of a full disk, or the signal
   */
  keep(repository: string, commit: string, uuid: string, signal: AbortSignal): Promise<KeptCommit>;
  /** Lets go of open files and threads. */
  close(): Promise<void>;
};
