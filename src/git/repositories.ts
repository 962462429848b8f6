import { createHash } from 'node:crypto';
import { join, resolve } from 'node:path';
import { invalid, quote } from '../domain/errors.js';
import { type Edge, systemEdge } from '../edge.js';
import type { HistoryLog } from './graph/history.js';
import { createSlicer } from './graph/slicer.js';
import type { Repositories } from './port.js';
import { createReader } from './reader/reader.js';
import { openRepository, type Repository } from './repository.js';

/** What repositories take from what is around them. */
export type RepositoriesOptions = {
  readonly edge?: Pick<Edge, 'now'>;
  /** Directory where imported histories are kept; without one, they are imported again after a restart. */
  readonly directory?: string;
  /** Where to tell of imports and of what is damaged but not needed. */
  readonly log?: HistoryLog;
  /** How long a range waits for a history to be loaded before it is UNAVAILABLE, in milliseconds; 10 s unless given. */
  readonly patience?: number;
};

const silent: HistoryLog = { info: () => undefined, warn: () => undefined };

/**
 * Opens the configured local repositories, bare or not.
 * @param config - path of each repository by its name
 * @throws MemoirError FAILED_PRECONDITION naming name and path, if one is not a git repository (NOT_A_REPOSITORY) or is of a
 * form that Memoir cannot read (UNSUPPORTED_REPOSITORY)
 */
export async function openRepositories(
  config: Readonly<Record<string, { readonly path: string }>>,
  { edge = systemEdge, directory, log = silent, patience = 10_000 }: RepositoriesOptions = {},
): Promise<Repositories> {
  const repositories = new Map<string, Repository>();
  const reader = createReader();
  const slicer = createSlicer();
  try {
    for (const [name, { path }] of Object.entries(config)) {
      const keptIn = directory === undefined ? undefined : join(directory, directoryName(name, path));
      repositories.set(
        name,
        openRepository(name, path, { reader, slicer, now: () => edge.now(), keptIn, log, patience }),
      );
    }
  } catch (error) {
    await reader.close();
    throw error;
  }
  const names = [...repositories.keys()].sort();

  function repository(name: string): Repository {
    const found = repositories.get(name);
    if (found) return found;
    throw invalid('repository', 'UNKNOWN_REPOSITORY', `repository ${quote(name)} is not configured`);
  }

  return {
    names: () => names,
    resolve: async (name, refspec, { field = 'script_version' } = {}) => repository(name).resolve(refspec, field),
    range: async (name, query) => repository(name).range(query),
    isAncestor: async (name, ancestor, commits) => repository(name).isAncestor(ancestor, commits),
    async close() {
      await Promise.all([...repositories.values()].map((opened) => opened.close()));
      await reader.close();
    },
  };
}

/** A name for what is kept of a repository, which another repository under the same name does not share. */
function directoryName(name: string, path: string): string {
  const digest = createHash('sha256')
    .update(`${name}\0${resolve(path)}`)
    .digest('hex')
    .slice(0, 16);
  return `${name.replace(/[^A-Za-z0-9._-]/g, '_').slice(0, 64)}-${digest}`;
}
