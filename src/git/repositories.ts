import { join, resolve } from 'node:path';
import { MemoirError, quote, unknownRepository } from '../domain/errors.js';
import { type Edge, systemEdge } from '../edge.js';
import { directoryName } from './directory-name.js';
import { createGraphBudget, type GraphLimits, graphLimits } from './graph/graph-budget.js';
import type { HistoryLog } from './graph/history.js';
import { createSlicer } from './graph/slicer.js';
import { createKeeper } from './kept/keeper.js';
import { openRemote, type RemoteConfig, type RemoteOptions, remoteDefaults } from './mirror/open-remote.js';
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
};

/** Where the commits of jobs are kept, in the directory of what is kept of repositories. */
export function keptDirectory(directory: string): string {
  return join(directory, 'kept');
}

/** Where a repository is: a local directory, or a server to fetch it from. */
export type RepositoryPlace = { readonly path: string } | RemoteConfig;

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
  }: RepositoriesOptions = {},
): Promise<Repositories> {
  const monotonic = () => edge.monotonic();
  const repositories = new Map<string, Repository>();
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

  function openPlace(name: string, place: RepositoryPlace): Repository {
    if ('path' in place) return open(name, place.path);
    if (directory === undefined)
      throw new Error(`repository ${quote(name)} is remote, but there is no directory for its mirror`);
    return openRemote(
      name,
      place,
      { ...remoteDefaults, ...remotes },
      {
        directory: join(directory, directoryName(name, place.url)),
        monotonic,
        log,
        patience,
        open: (path) => open(name, path),
      },
    );
  }

  try {
    for (const [name, place] of Object.entries(config)) repositories.set(name, openPlace(name, place));
  } catch (error) {
    budget.close();
    await reader.close();
    throw error;
  }
  const names = [...repositories.keys()].sort();

  function repository(name: string): Repository {
    const found = repositories.get(name);
    if (found) return found;
    throw unknownRepository(name);
  }

  function asked(asking: Asking | undefined): Pick<Repositories, 'resolve' | 'range'> {
    return {
      resolve: async (name, refspec, { field = 'script_version' } = {}) =>
        repository(name).resolve(refspec, field, asking),
      range: async (name, query) => repository(name).range(query, asking),
    };
  }

  return {
    names: () => names,
    ...asked(undefined),
    askedBy: asked,
    isAncestor: async (name, ancestor, commits) => repository(name).isAncestor(ancestor, commits),
    isPlain: async (name, commit) => ifTold(() => repositories.get(name)?.isPlain(commit)),
    script: async (name, commit, path) => ifTold(() => repositories.get(name)?.script(commit, path)),
    code: async (name, query) => repository(name).code(query),
    codeDifference: async (name, one, other) => ifTold(() => repositories.get(name)?.codeDifference(one, other)),
    async keep(name, commit, uuid, signal) {
      const source = await repository(name).objects();
      if (directory === undefined) throw new Error(`there is no directory to keep commits of ${quote(name)} in`);
      return keeper.keep({ source, root: keptDirectory(directory), commit, uuid }, signal);
    },
    async close() {
      budget.close();
      await keeper.close();
      await Promise.all([...repositories.values()].map((opened) => opened.close()));
      await Promise.all([reader.close(), searcher.close()]);
    },
  };
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
