import type { ServerConfig } from '../config.js';
import type { RepositoriesOptions, RepositoryPlace } from '../git/repositories.js';

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

/** How long and how many histories stay in memory, as the git module takes it. */
export function historyLimits({
  history_idle_timeout,
  history_memory_limit,
}: Pick<ServerConfig, 'history_idle_timeout' | 'history_memory_limit'>): NonNullable<RepositoriesOptions['histories']> {
  const idleAfter = history_idle_timeout === 0 ? Number.POSITIVE_INFINITY : history_idle_timeout * 1_000;
  return { idleAfter, maxBytes: history_memory_limit };
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
