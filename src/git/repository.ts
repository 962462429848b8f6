import { join } from 'node:path';
import { LRUCache } from 'lru-cache';
import { MemoirError } from '../domain/errors.js';
import { fileKind } from './file-kind.js';
import { type Layout, readLayout } from './layout.js';
import { unavailable } from './problem.js';
import type { Peeled } from './reader/object-reader.js';
import type { Reader } from './reader/reader.js';
import { openRefs } from './refs.js';
import { type RefspecSource, resolveRefspec } from './refspec/resolve.js';

/** One local repository. */
export type Repository = {
  readonly layout: Layout;
  /** See `Repositories.resolve`. */
  resolve(refspec: string, field: string): Promise<string>;
};

/** Commits that are remembered as such, so that a full hash costs no look at the disk. */
const rememberedCommits = 65_536;

/** Most commits whose messages one search looks at. */
const longestSearch = 200_000;

/**
 * Opens the repository at a path.
 * @param now - wall-clock time in milliseconds
 * @throws MemoirError as `readLayout` does
 */
export function openRepository(name: string, path: string, reader: Reader, now: () => number): Repository {
  const layout = readLayout(name, path);
  const refs = openRefs(layout, now);
  /** By id of a commit or tag, the commit. An object never changes, so neither does what is here. */
  const commits = new LRUCache<string, string>({ max: rememberedCommits });

  async function peel(id: string): Promise<Peeled | undefined> {
    const known = commits.get(id);
    if (known !== undefined) return { id: known, type: 'commit' };
    const peeled = await reader.ask(layout, 'peel', { id });
    if (peeled?.type === 'commit') {
      commits.set(id, peeled.id);
      commits.set(peeled.id, peeled.id);
    }
    return peeled;
  }

  const source: RefspecSource = {
    hash: layout.hash,
    findRef: refs.find,
    peel,
    typeOf: (id) => reader.ask(layout, 'typeOf', { id }),
    parents: (id) => reader.ask(layout, 'parents', { id }),
    ancestor: (id, generations) => reader.ask(layout, 'ancestor', { id, generations }),
    abbreviated: (prefix) => reader.ask(layout, 'abbreviated', { prefix }),
    async search(search, from) {
      const starts = from === undefined ? refs.list().map(({ id }) => id) : [from];
      const { commit, exhausted } = await reader.ask(layout, 'search', { search, starts, limit: longestSearch });
      if (!exhausted) return commit;
      throw new MemoirError(
        'RESOURCE_EXHAUSTED',
        'SEARCH_TOO_LONG',
        `none of the ${longestSearch} youngest commits of repository ${JSON.stringify(name)} has such a message`,
        { metadata: { repository: name } },
      );
    },
  };

  return {
    layout,
    async resolve(refspec, field) {
      if (refspec.length === layout.hash.hex && commits.get(refspec) === refspec) return refspec;
      try {
        return await resolveRefspec(source, name, refspec, field);
      } catch (error) {
        if (fileKind(join(layout.gitDir, 'HEAD'))) throw error;
        throw unavailable(name, `${JSON.stringify(layout.gitDir)} is not there any more`, error);
      }
    },
  };
}
