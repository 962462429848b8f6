import { LRUCache } from 'lru-cache';
import { everyRepository, type RegistryConfig } from '../../config/registries.js';
import type { Edge } from '../../edge.js';
import { manifestDigest } from './client.js';
import { freshAnswers } from './fresh-answers.js';
import { type Registries, type Registry, type RegistryImage, RegistryProblem } from './port.js';

/** How many digests are remembered that were checked. */
const kept = 10_000;

/** How long a registry that could not be asked is left alone, in milliseconds. */
const pause = 5_000;

/** The configured registries, by the beginning of the names of the repositories that they are asked for. */
export function openRegistries(
  config: Readonly<Record<string, RegistryConfig>>,
  edge: Pick<Edge, 'monotonic'>,
): Registries {
  const registries = new Map(Object.entries(config).map(([name, one]) => [name, openRegistry(name, one, edge)]));
  return {
    of(repository) {
      for (let prefix = repository; ; ) {
        const found = registries.get(prefix);
        if (found) return found;
        const slash = prefix.lastIndexOf('/');
        if (slash < 0) return registries.get(everyRepository);
        prefix = prefix.slice(0, slash);
      }
    },
  };
}

function openRegistry(name: string, config: RegistryConfig, edge: Pick<Edge, 'monotonic'>): Registry {
  const { hosts, username, password, needed } = config;
  const origin = new URL(config.url);
  const credentials = username !== undefined && password !== undefined ? { username, password } : undefined;
  const checked = new LRUCache<string, true>({ maxSize: kept, sizeCalculation: () => 1 });

  async function ask(repository: string, reference: string): Promise<RegistryImage | undefined> {
    const remote = remoteName(repository);
    const bounds = { origin, hosts, signal: AbortSignal.timeout(config.timeout * 1_000) };
    const isKnown = (digest: string) => checked.has(`${remote}@${digest}`);
    const hash = await manifestDigest({ bounds, credentials, name: remote, reference, isKnown });
    if (hash === undefined) return undefined;
    checked.set(`${remote}@${hash}`, true);
    return { locator: `${origin.host}/${remote}@${hash}`, hash };
  }

  // Neither a repository nor a tag or digest holds a space.
  const answers = freshAnswers(
    async (key) => {
      const [repository = '', reference = ''] = key.split(' ');
      return ask(repository, reference).catch((error: unknown) => {
        throw error instanceof RegistryProblem ? error : new RegistryProblem('it cannot be asked', error);
      });
    },
    { answers: config.max_age * 1_000, failures: Math.max(config.max_age * 1_000, pause) },
    () => edge.monotonic(),
  );

  return { name, needed, ask: (repository, reference) => answers(`${repository} ${reference}`) };
}

/** Name of a repository at its registry: without the registry's domain, if it begins with one as docker tells domains. */
export function remoteName(repository: string): string {
  const slash = repository.indexOf('/');
  const first = repository.slice(0, Math.max(slash, 0));
  return /[.:A-Z]/.test(first) || first === 'localhost' ? repository.slice(slash + 1) : repository;
}
