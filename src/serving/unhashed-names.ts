import type { ServerConfig } from '../config.js';
import { repositoryGlobs } from '../domain/repositories/repository-glob.js';
import type { UnhashedNames } from '../jobs/ports/unhashed-names.js';

/** Which parameters may be left out of what is computed; undefined if none may. */
export function unhashedNames({
  unhashed_parameters: allowed,
}: Pick<ServerConfig, 'unhashed_parameters'>): UnhashedNames | undefined {
  if (allowed.length === 0) return undefined;
  const entries = allowed.map(({ repository, script, names }) => ({
    names: new Set(names),
    repositories: repositoryGlobs([repository]),
    scripts: repositoryGlobs([script]),
  }));
  return (repository, script, name) =>
    entries.some(
      ({ names, repositories, scripts }) =>
        names.has(name) && repositories?.(repository) === true && scripts?.(script) === true,
    );
}
