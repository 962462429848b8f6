import type { ServerConfig } from './config.js';
import type { RepositoriesOptions, RepositoryPlace } from './git/repositories.js';

/** The configured repositories as the git module takes them. */
export function repositoryPlaces({
  repositories,
}: Pick<ServerConfig, 'repositories'>): Record<string, RepositoryPlace> {
  const places: Record<string, RepositoryPlace> = {};
  for (const [name, { path, url = '', username, password }] of Object.entries(repositories)) {
    const credentials = username !== undefined && password !== undefined ? { username, password } : undefined;
    places[name] = path === undefined ? { url, ...(credentials && { credentials }) } : { path };
  }
  return places;
}

/** The rules for remote repositories as the git module takes them. */
export function remoteRules({ remotes }: Pick<ServerConfig, 'remotes'>): NonNullable<RepositoriesOptions['remotes']> {
  return {
    allowedHosts: remotes.allowed_hosts,
    allowHttp: remotes.allow_http,
    allowGit: remotes.allow_git,
    allowPrivateAddresses: remotes.allow_private_addresses,
    refreshAfter: remotes.refresh_after * 1_000,
    acceptStale: remotes.accept_stale * 1_000,
    deadline: remotes.deadline * 1_000,
    silence: remotes.silence * 1_000,
    bytes: remotes.max_bytes,
  };
}
