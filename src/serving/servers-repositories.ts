import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import type { ServerConfig } from '../config.js';
import { type AddedPlace, isWithin } from '../domain/repositories/added-place.js';
import type { RepositorySet } from '../domain/repositories/repository-set.js';
import { repositorySetStream } from '../domain/streams.js';
import type { Edge } from '../edge.js';
import type { RepositoryPlace } from '../git/places.js';
import { type ChangingRepositories, openRepositories, type RepositoriesOptions } from '../git/repositories.js';
import type { JobsContext } from '../jobs/context.js';
import { keyedLock } from '../jobs/keyed-lock.js';
import type { RepositoryPlaces } from '../jobs/ports/added-repositories.js';
import { type AddRepositories, addRepositories } from '../jobs/repositories/add-repository.js';
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
  reconfigure(settings: Pick<ServerConfig, 'repositories' | 'credentials'>): Promise<void>;
  /** What those need that are added while the server runs. */
  readonly places: RepositoryPlaces;
  close(): Promise<void>;
};

/**
 * Opens the repositories of a server.
 * @param mayHaveCodePaths - whether code paths may be recorded
 * @throws MemoirError as `openRepositories`; Error naming the setting that cannot be used
 */
export async function openServersRepositories(
  config: ServerConfig,
  {
    directory,
    edge,
    mayHaveCodePaths,
    commitsOfJobs,
  }: { directory: string; edge: Edge; mayHaveCodePaths: boolean } & Pick<RepositoriesOptions, 'commitsOfJobs'>,
  logger: Logger,
): Promise<ServersRepositories> {
  let settings: Pick<ServerConfig, 'repositories' | 'credentials'> = config;
  let set: RepositorySet = new Map();
  const codePaths = new Map(defaultCodePaths(config, mayHaveCodePaths));
  const git = await openRepositories(repositoryPlaces(config), {
    edge,
    directory,
    log: logger,
    ...(commitsOfJobs && { commitsOfJobs }),
    remotes: remoteRules(config),
    histories: historyLimits(config),
  });
  const one = keyedLock();

  /** Those of the configuration, and of the others those whose name it does not have. */
  function all(of: typeof settings, added: RepositorySet): Record<string, RepositoryPlace> {
    const places = [...added.values()]
      .filter(({ removed }) => !removed)
      .map(({ name, place }) => [name, place] as const);
    const late = places.map(([name, place]) => [name, { ...placeOf(of, name, place), late: true as const }] as const);
    return { ...Object.fromEntries(late), ...repositoryPlaces(of) };
  }

  function placeOf({ credentials }: typeof settings, name: string, place: AddedPlace): RepositoryPlace {
    if ('path' in place) return place;
    const { url, credential } = place;
    const found = Object.hasOwn(credentials, credential) ? credentials[credential] : undefined;
    if (credential === '' || !found || !isWithin(url, [found.url])) {
      if (credential !== '')
        logger.warn({ repository: name, credential }, 'the configuration has no such credential for the repository');
      return { url };
    }
    return { url, credentials: { username: found.username, password: found.password } };
  }

  return {
    git,
    codePaths,
    reconfigure: (given) =>
      one('repositories', async () => {
        const paths = defaultCodePaths(given, mayHaveCodePaths);
        await git.replace(all(given, set));
        settings = given;
        codePaths.clear();
        for (const [name, own] of paths ?? []) codePaths.set(name, own);
        logger.info({ repositories: git.names() }, 'the repositories of the settings were read again');
      }),
    places: {
      isConfigured: (name) => Object.hasOwn(settings.repositories, name),
      credentialUrl: (name) =>
        Object.hasOwn(settings.credentials, name) ? settings.credentials[name]?.url : undefined,
      check: (name, place) => git.check(name, placeOf(settings, name, place)),
      have: (next) =>
        one('repositories', async () => {
          const before = git.names();
          await git.replace(all(settings, next));
          set = next;
          const now = git.names();
          if (!isDeepStrictEqual(before, now)) logger.info({ repositories: now }, 'repositories were added or removed');
        }),
      set: () => set,
    },
    close: git.close,
  };
}

/** What adds repositories, and has what the log has of them, now and whenever that changes. */
export async function followAdded(
  context: JobsContext,
  { places }: Pick<ServersRepositories, 'places'>,
  logger: Logger,
): Promise<AddRepositories> {
  const added = addRepositories(context, places);
  const follow = () =>
    added.follow().catch((error: unknown) => {
      logger.error({ err: error }, 'the repositories that were added cannot be read; those that are known go on');
    });
  context.readModel.onChange(repositorySetStream, () => void follow());
  await follow();
  return added;
}
