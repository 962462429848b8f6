import type { Logger } from 'pino';
import type { ServerConfig } from '../config.js';
import type { Edge } from '../edge.js';
import { type ChangingRepositories, openRepositories } from '../git/repositories.js';
import { defaultCodePaths, historyLimits, remoteRules, repositoryPlaces } from './repository-places.js';

/** The repositories of a server, as its settings have them. */
export type ServersRepositories = {
  readonly git: ChangingRepositories;
  /** The code paths of requests that name none, by repository, as they are now. */
  readonly codePaths: ReadonlyMap<string, readonly string[]>;
  /**
   * Has the repositories of settings that were read again.
   * @throws Error naming the repository that cannot be used; then all is as it was before
   */
  reconfigure(settings: Pick<ServerConfig, 'repositories'>): Promise<void>;
  close(): Promise<void>;
};

/**
 * Opens the repositories of a server.
 * @param mayHaveCodePaths - whether code paths may be recorded
 * @throws MemoirError as `openRepositories`; Error naming the setting that cannot be used
 */
export async function openServersRepositories(
  config: ServerConfig,
  { directory, edge, mayHaveCodePaths }: { directory: string; edge: Edge; mayHaveCodePaths: boolean },
  logger: Logger,
): Promise<ServersRepositories> {
  const codePaths = new Map(defaultCodePaths(config, mayHaveCodePaths));
  const git = await openRepositories(repositoryPlaces(config), {
    edge,
    directory,
    log: logger,
    remotes: remoteRules(config),
    histories: historyLimits(config),
  });
  return {
    git,
    codePaths,
    async reconfigure(settings) {
      const paths = defaultCodePaths(settings, mayHaveCodePaths);
      await git.replace(repositoryPlaces(settings));
      codePaths.clear();
      for (const [name, own] of paths ?? []) codePaths.set(name, own);
      logger.info({ repositories: git.names() }, 'the repositories of the settings were read again');
    },
    close: git.close,
  };
}
