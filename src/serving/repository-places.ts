import type { ServerConfig } from '../config.js';
import { quote } from '../domain/errors.js';
import { sharedRunsFormat } from '../domain/log-format.js';
import type { RepositoryPlace } from '../git/places.js';
import type { RepositoriesOptions } from '../git/repositories.js';

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

/**
 * The code paths of requests that name none, by repository; undefined if no repository has any.
 * @param allowed - whether they may be recorded, which needs log format 4
 * @throws Error naming the setting if they may not
 */
export function defaultCodePaths(
  { repositories }: Pick<ServerConfig, 'repositories'>,
  allowed: boolean,
): ReadonlyMap<string, readonly string[]> | undefined {
  const paths = Object.entries(repositories).flatMap(([name, { code_paths }]) =>
    code_paths ? [[name, code_paths] as const] : [],
  );
  const [first] = paths;
  if (first && !allowed) {
    throw new Error(
      `repositories.${quote(first[0])}.code_paths needs log format ${sharedRunsFormat}, which may not be recorded here (setting log_format)`,
    );
  }
  return first && new Map(paths);
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
    mirrorBytes: remotes.max_mirror_bytes,
    keepUnreachable: remotes.keep_unreachable * 1_000,
  };
}
