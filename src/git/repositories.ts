import { invalid, quote } from '../domain/errors.js';
import { type Edge, systemEdge } from '../edge.js';
import type { Repositories } from './port.js';
import { createReader } from './reader/reader.js';
import { openRepository, type Repository } from './repository.js';

/** What repositories take from the world around. */
export type RepositoriesOptions = {
  readonly edge?: Pick<Edge, 'now'>;
};

/**
 * Opens the configured local repositories, bare or not.
 * @param config - path of each repository by its name
 * @throws MemoirError FAILED_PRECONDITION naming name and path, if one is not a git repository (NOT_A_REPOSITORY) or is of a
 * form that Memoir cannot read (UNSUPPORTED_REPOSITORY)
 */
export async function openRepositories(
  config: Readonly<Record<string, { readonly path: string }>>,
  { edge = systemEdge }: RepositoriesOptions = {},
): Promise<Repositories> {
  const repositories = new Map<string, Repository>();
  const reader = createReader();
  try {
    for (const [name, { path }] of Object.entries(config)) {
      repositories.set(
        name,
        openRepository(name, path, reader, () => edge.now()),
      );
    }
  } catch (error) {
    await reader.close();
    throw error;
  }
  const names = [...repositories.keys()].sort();

  return {
    names: () => names,
    async resolve(repository, refspec, { field = 'script_version' } = {}) {
      const found = repositories.get(repository);
      if (!found)
        throw invalid('repository', 'UNKNOWN_REPOSITORY', `repository ${quote(repository)} is not configured`);
      return found.resolve(refspec, field);
    },
    close: () => reader.close(),
  };
}
