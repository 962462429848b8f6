import { MemoirError } from '../../domain/errors.js';
import { isHex } from '../hash.js';
import type { RangeQuery } from '../port.js';
import type { Repository } from '../repository.js';
import type { Mirror } from './mirror.js';

/**
 * A remote repository through its mirror. What names a commit by its full hash is answered from what was fetched before, if it is
 * there, as no fetch could change it; everything else waits for a fresh mirror.
 * @param open - opens the mirror at a path
 */
export function createRemoteRepository(mirror: Mirror, open: (path: string) => Repository): Repository {
  let opened: Repository | undefined;

  function at(path: string): Repository {
    opened ??= open(path);
    return opened;
  }

  async function known<T>(refspecs: readonly string[], work: (repository: Repository) => Promise<T>): Promise<T> {
    const path = refspecs.every((text) => (text.length === 40 || text.length === 64) && isHex(text))
      ? mirror.fetched()
      : undefined;
    if (path !== undefined) {
      try {
        return await work(at(path));
      } catch (error) {
        if (!(error instanceof MemoirError) || error.reason !== 'UNRESOLVABLE_REFSPEC') throw error;
      }
    }
    return work(at(await mirror.fresh()));
  }

  return {
    async resolve(refspec, field, asking) {
      const commit = await known([refspec], (repository) => repository.resolve(refspec, field, asking));
      mirror.named(commit);
      return commit;
    },
    async range(query, asking) {
      const range = await known(refspecsOf(query), (repository) => repository.range(query, asking));
      mirror.named(range.end);
      return range;
    },
    async isAncestor(ancestor, commits) {
      const path = mirror.fetched();
      const known = path === undefined ? undefined : await at(path).isAncestor(ancestor, commits);
      if (known?.every((answer) => answer !== undefined)) return known;
      return at(await mirror.fresh()).isAncestor(ancestor, commits);
    },
    async isPlain(commit) {
      const path = mirror.fetched();
      return path === undefined ? undefined : at(path).isPlain(commit);
    },
    async script(commit, script) {
      const path = mirror.fetched();
      return path === undefined ? undefined : at(path).script(commit, script);
    },
    code: async (query) => at(mirror.fetched() ?? (await mirror.fresh())).code(query),
    async codeDifference(one, other) {
      const path = mirror.fetched();
      return path === undefined ? undefined : at(path).codeDifference(one, other);
    },
    changes: async (query, signal) => at(mirror.fetched() ?? (await mirror.fresh())).changes(query, signal),
    objects: async () => at(mirror.fetched() ?? (await mirror.fresh())).objects(),
    async close() {
      await mirror.close();
      await opened?.close();
    },
  };
}

function refspecsOf({ end, minimum, exclude = [] }: RangeQuery): string[] {
  return [end, ...(minimum ? [minimum] : []), ...exclude].map(({ refspec }) => refspec);
}
