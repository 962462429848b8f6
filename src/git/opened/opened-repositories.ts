import { isDeepStrictEqual } from 'node:util';
import { unknownRepository } from '../../domain/errors.js';
import type { RepositoryPlace } from '../places.js';
import type { Repository } from '../repository.js';

/** The repositories that are open, by name. */
export type OpenedRepositories = {
  /** Their names, sorted. */
  names(): readonly string[];
  /**
   * What comes of work with a repository, which stays open until that is done.
   * @throws MemoirError INVALID_ARGUMENT UNKNOWN_REPOSITORY if there is none of the name; what the work throws
   */
  use<T>(name: string, work: (repository: Repository, place: RepositoryPlace) => Promise<T>): Promise<T>;
  /**
   * Opens what is there now, and closes what is there no more, or at another place, once all work with it is done.
   * @throws what opening throws; then everything is as it was before
   */
  replace(places: Readonly<Record<string, RepositoryPlace>>): Promise<void>;
  close(): Promise<void>;
};

type Opened = {
  readonly place: RepositoryPlace;
  readonly repository: Repository;
  users: number;
  /** Set once there is another in its place, or none. */
  closing: ((closed: Promise<void>) => void) | undefined;
};

/** No repositories yet. */
export function openedRepositories(open: (name: string, place: RepositoryPlace) => Repository): OpenedRepositories {
  let opened = new Map<string, Opened>();
  let names: readonly string[] = [];

  function found(name: string): Opened {
    const one = opened.get(name);
    if (one) return one;
    throw unknownRepository(name);
  }

  function left(one: Opened): void {
    if (--one.users === 0) one.closing?.(one.repository.close());
  }

  /** Resolves when it is closed: at once, or after the last who works with it. */
  function retire(one: Opened): Promise<void> {
    if (one.users === 0) return one.repository.close();
    return new Promise((resolve) => {
      one.closing = resolve;
    });
  }

  return {
    names: () => names,
    async use(name, work) {
      const one = found(name);
      one.users++;
      try {
        return await work(one.repository, one.place);
      } finally {
        left(one);
      }
    },
    async replace(places) {
      const next = new Map<string, Opened>();
      const fresh: Opened[] = [];
      try {
        for (const [name, place] of Object.entries(places)) {
          const before = opened.get(name);
          if (before && isDeepStrictEqual(before.place, place)) next.set(name, before);
          else {
            const one: Opened = { place, repository: open(name, place), users: 0, closing: undefined };
            fresh.push(one);
            next.set(name, one);
          }
        }
      } catch (error) {
        await Promise.all(fresh.map(({ repository }) => repository.close()));
        throw error;
      }
      const gone = [...opened].filter(([name, one]) => next.get(name) !== one);
      opened = next;
      names = [...next.keys()].sort();
      for (const [, one] of gone) void retire(one);
    },
    async close() {
      await Promise.all([...opened.values()].map(({ repository }) => repository.close()));
    },
  };
}
