import { join } from 'node:path';
import { LRUCache } from 'lru-cache';
import { fileKind } from './file-kind.js';
import { type Layout, readLayout } from './layout.js';
import { parseCommit, parseTag } from './objects/commit.js';
import { openObjectStore } from './objects/object-store.js';
import { damaged, unavailable } from './problem.js';
import { openRefs } from './refs.js';
import { type Peeled, type RefspecSource, resolveRefspec } from './refspec/resolve.js';

/** One local repository. */
export type Repository = {
  readonly layout: Layout;
  /** See `Repositories.resolve`. */
  resolve(refspec: string, field: string): Promise<string>;
  close(): Promise<void>;
};

/** Commits that are remembered as such, so that a full hash costs no look at the disk. */
const rememberedCommits = 65_536;

/** Most abbreviations that are looked at to tell which of them is a commit. */
const mostAbbreviated = 1_000;

/** Longest chain of annotated tags that is followed. */
const longestTagChain = 1_000;

/**
 * Opens the repository at a path.
 * @param now - wall-clock time in milliseconds
 * @throws MemoirError as `readLayout` does
 */
export function openRepository(name: string, path: string, now: () => number): Repository {
  const layout = readLayout(name, path);
  const { hash } = layout;
  const refs = openRefs(layout, now);
  const objects = openObjectStore({ repository: name, directory: layout.objectDir, hash });
  /** By id of a commit or tag, the commit. An object never changes, so neither does what is here. */
  const commits = new LRUCache<string, string>({ max: rememberedCommits });

  function peel(id: string): Peeled | undefined {
    const known = commits.get(id);
    if (known !== undefined) return { id: known, type: 'commit' };
    let at = id;
    for (let depth = 0; depth < longestTagChain; depth++) {
      const type = objects.typeOf(at);
      if (type === undefined && at === id) return undefined;
      if (type === undefined) throw damaged(name, `object ${at}, which a tag names, is missing`);
      if (type === 'tree' || type === 'blob') return { id: at, type };
      const object = objects.read(at);
      if (!object) throw damaged(name, `object ${at} is missing`);
      const fail = (what: string) => damaged(name, `object ${at}: ${what}`);
      if (type === 'commit') {
        parseCommit(object.data, hash.hex, fail);
        commits.set(id, at);
        return { id: at, type };
      }
      at = parseTag(object.data, hash.hex, fail);
    }
    throw damaged(name, `object ${id} is a tag of a tag without end`);
  }

  function parents(id: string): readonly string[] {
    const object = objects.read(id);
    if (object?.type !== 'commit') throw damaged(name, `commit ${id} is missing`);
    return parseCommit(object.data, hash.hex, (what) => damaged(name, `object ${id}: ${what}`)).parents;
  }

  const source: RefspecSource = {
    hash,
    findRef: refs.find,
    peel: async (id) => peel(id),
    typeOf: async (id) => objects.typeOf(id),
    parents: async (id) => parents(id),
    async ancestor(id, generations) {
      let at: string | undefined = id;
      for (let i = 0; i < generations && at !== undefined; i++) at = parents(at)[0];
      return at;
    },
    abbreviated: async (prefix) =>
      objects.withPrefix(prefix, mostAbbreviated).filter((id) => peel(id)?.type === 'commit'),
    search: async () => {
      throw unavailable(name, 'searching for text in messages is not ready');
    },
  };

  return {
    layout,
    async resolve(refspec, field) {
      if (refspec.length === hash.hex && commits.get(refspec) === refspec) return refspec;
      try {
        return await resolveRefspec(source, name, refspec, field);
      } catch (error) {
        if (!fileKind(join(layout.gitDir, 'HEAD'))) {
          throw unavailable(name, `${JSON.stringify(layout.gitDir)} is not there any more`, error);
        }
        throw error;
      }
    },
    async close() {
      objects.close();
    },
  };
}
