import { realpathSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { MemoirError, quote } from '../domain/errors.js';
import { type Edge, systemEdge } from '../edge.js';
import { directoryName } from './directory-name.js';
import { createGraphBudget, type GraphLimits, graphLimits } from './graph/graph-budget.js';
import type { HistoryLog } from './graph/history.js';
import { createSlicer } from './graph/slicer.js';
import { createKeeper } from './kept/keeper.js';
import type { Layout } from './layout.js';
import { openRemote, type RemoteOptions, remoteDefaults } from './mirror/open-remote.js';
import { findObjectDirectories } from './objects/alternates.js';
import { lateRepository } from './opened/late-repository.js';
import { openedRepositories } from './opened/opened-repositories.js';
import type { RepositoryPlace } from './places.js';
import type { Asking, Repositories } from './port.js';
import { createReader } from './reader/reader.js';
import { openRepository, type Repository } from './repository.js';
import { createSearcher } from './search/searcher.js';

/** What repositories take from what is around them. */
export type RepositoriesOptions = {
  readonly edge?: Pick<Edge, 'now' | 'monotonic'>;
  /**
   * Directory where imported histories and mirrors are kept. Without one, histories are imported again after a restart, and
   * there can be no remote repositories.
   */
  readonly directory?: string;
  /** Where to tell of imports and of what is damaged but not needed. */
  readonly log?: HistoryLog;
  /** How long a range waits for a history to be loaded before it is UNAVAILABLE, in milliseconds; 10 s unless given. */
  readonly patience?: number;
  /** What is allowed of remote repositories; nothing unless given. */
  readonly remotes?: Partial<RemoteOptions>;
  /** How long and how many histories stay in memory. */
  readonly histories?: GraphLimits;
  /**
   * Full hashes of the commits of all jobs of a repository, which stay in its mirror; undefined if that cannot be told now. Without it nothing is
   * ever removed from mirrors.
   */
  readonly commitsOfJobs?: (repository: string) => Promise<readonly string[] | undefined>;
};

/** Where the commits of jobs are kept, in the directory of what is kept of repositories. */
export function keptDirectory(directory: string): string {
  return join(directory, 'kept');
}

/** The repositories of a server, which come and go while it runs. */
export type ChangingRepositories = Repositories & {
  /**
   * Has these repositories from now on. Those that are at the same place stay open; calls under way go on with what they began with.
   * @throws MemoirError as `openRepositories`; then all is as it was before
   */
  replace(config: Readonly<Record<string, RepositoryPlace>>): Promise<void>;
  /**
   * Opens a repository to see whether that can be done, and lets go of it. Gives the directories that are read of a local one, links followed;
   * of a remote one nothing is fetched.
   * @throws MemoirError as `openRepositories`
   */
  check(name: string, place: RepositoryPlace): Promise<readonly string[]>;
};

const silent: HistoryLog = { info: () => undefined, warn: () => undefined };

/**
 * Opens the configured repositories: local ones, bare or not, and remote ones, which are fetched when they are first asked.
 * @param config - place of each repository by its name
 * @throws MemoirError FAILED_PRECONDITION naming name and path, if one is not a git repository (NOT_A_REPOSITORY), is of a
 * form that Memoir cannot read (UNSUPPORTED_REPOSITORY), or is at a URL that is not allowed (REMOTE_NOT_ALLOWED)
 */
export async function openRepositories(
  config: Readonly<Record<string, RepositoryPlace>>,
  {
    edge = systemEdge,
    directory,
    log = silent,
    patience = 10_000,
    remotes = {},
    histories = graphLimits,
    commitsOfJobs = async () => undefined,
  }: RepositoriesOptions = {},
): Promise<ChangingRepositories> {
  const monotonic = () => edge.monotonic();
  const reader = createReader();
  const keeper = createKeeper();
  const slicer = createSlicer();
  const searcher = createSearcher();
  const budget = createGraphBudget(histories, monotonic, log);

  function open(name: string, path: string): Repository {
    const keptIn = directory === undefined ? undefined : join(directory, directoryName(name, resolve(path)));
    const now = () => edge.now();
    return openRepository(name, path, { reader, slicer, searcher, now, monotonic, keptIn, log, patience, budget });
  }

  function openNow(name: string, place: RepositoryPlace): Repository {
    if ('path' in place) return open(name, place.path);
    if (directory === undefined)
      throw new Error(`repository ${quote(name)} is remote, but there is no directory for its mirror`);
    return openRemote(
      name,
      place,
      { ...remoteDefaults, ...remotes },
      {
        directory: join(directory, directoryName(name, place.url)),
        edge,
        log,
        commitsOfJobs: () => commitsOfJobs(name),
        patience,
        open: (path) => open(name, path),
      },
    );
  }

  const opened = openedRepositories((name, place) =>
    place.late ? lateRepository(() => openNow(name, place)) : openNow(name, place),
  );
  try {
    await opened.replace(config);
  } catch (error) {
    budget.close();
    await Promise.all([reader.close(), searcher.close()]);
    throw error;
  }
  const { use } = opened;

  function asked(asking: Asking | undefined): Pick<Repositories, 'resolve' | 'range'> {
    return {
      resolve: (name, refspec, { field = 'script_version' } = {}) =>
        use(name, (repository) => repository.resolve(refspec, field, asking)),
      range: (name, query) => use(name, (repository) => repository.range(query, asking)),
    };
  }

  return {
    names: opened.names,
    replace: opened.replace,
    async check(name, place) {
      const repository = openNow(name, place);
      try {
        return 'path' in place ? directoriesOf(await repository.objects()) : [];
      } finally {
        await repository.close();
      }
    },
    ...asked(undefined),
    askedBy: asked,
    isAncestor: (name, ancestor, commits) => use(name, (repository) => repository.isAncestor(ancestor, commits)),
    isPlain: (name, commit) => ifTold(() => use(name, (repository) => repository.isPlain(commit))),
    script: (name, commit, path) => ifTold(() => use(name, (repository) => repository.script(commit, path))),
    code: (name, query) => use(name, (repository) => repository.code(query)),
    changes: (name, query, signal) => use(name, (repository) => repository.changes(query, signal)),
    codeDifference: (name, one, other) =>
      ifTold(() => use(name, (repository) => repository.codeDifference(one, other))),
    keep: (name, commit, uuid, signal) =>
      use(name, async (repository, place) => {
        const source = await repository.objects();
        if (directory === undefined) throw new Error(`there is no directory to keep commits of ${quote(name)} in`);
        const at = 'path' in place ? resolve(place.path) : place.url;
        return keeper.keep({ source, root: keptDirectory(directory), place: at, commit, uuid }, signal);
      }),
    async close() {
      budget.close();
      await keeper.close();
      await opened.close();
      await Promise.all([reader.close(), searcher.close()]);
    },
  };
}

/** Wherever the files of a repository are read. */
function directoriesOf({ gitDir, commonDir, objectDir }: Layout): string[] {
  return [...new Set([gitDir, commonDir, ...findObjectDirectories(objectDir)].map((path) => realpathSync(path)))];
}

/** The answer; undefined if the repository cannot be read now or is damaged. */
async function ifTold<T>(ask: () => Promise<T | undefined> | undefined): Promise<T | undefined> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof MemoirError) return undefined;
    throw error;
  }
}
