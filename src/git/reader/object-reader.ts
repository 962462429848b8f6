import { LRUCache } from 'lru-cache';
import { type Layout, whyMissing } from '../layout.js';
import { type Commit, parseCommit, parseTag } from '../objects/commit.js';
import { type GitObject, longestTagChain, type ObjectType } from '../objects/object.js';
import { openObjectStore } from '../objects/object-store.js';
import type { PageCache } from '../objects/paged-file.js';
import { damaged } from '../problem.js';
import { readShallow } from './shallow.js';

/** What an object comes to when annotated tags are followed. */
export type Peeled = { readonly id: string; readonly type: Exclude<ObjectType, 'tag'> };

/** What an abbreviation is meant to be one of: commits, or also tags of them, or whatever there is. */
export type Abbreviated = 'commits' | 'committish' | 'objects';

/** Commits and tags of one repository, read synchronously. Everything throws MemoirError DATA_LOSS for a damaged repository. */
export type ObjectReader = {
  /** What an object comes to; undefined if the repository does not have it. */
  peel(id: string): Peeled | undefined;
  typeOf(id: string): ObjectType | undefined;
  /** An object, its hash verified; undefined if the repository does not have it. */
  read(id: string): GitObject | undefined;
  /** A commit that the repository must have, and its content. Parents behind the cut of a shallow repository are left out. */
  commit(id: string): Commit & { readonly data: Buffer };
  /** Ids of the objects of a kind that begin with the digits; not all if there are more than a thousand. */
  abbreviated(prefix: string, kind: Abbreviated): string[];
  close(): void;
};

/** Peeled objects that are remembered. An object never changes, so neither does what it comes to; but it may go. */
const remembered = 8_192;

/** Most abbreviations that are looked at to tell which of them is a commit. */
const mostAbbreviated = 1_000;

/** How long an object that was there is believed to be, in milliseconds: its ref may be forced elsewhere, and git's gc remove it. */
export const believedFor = 10_000;

/**
 * Opens the objects of a repository for reading.
 * @param now - time in milliseconds of a clock that does not jump
 */
export function openObjectReader(layout: Layout, pages: PageCache, now = () => performance.now()): ObjectReader {
  const { name, hash, objectDir } = layout;
  const objects = openObjectStore({ repository: name, directory: objectDir, hash, pages });
  const peeled = new LRUCache<string, Peeled>({ maxSize: remembered, sizeCalculation: () => 1 });
  /** Those of the peeled objects that were found to be there since `scannedAt`. */
  let there = new Set<string>();
  let scannedAt = now();
  const failFor = (id: string) => (what: string) => damaged(name, `object ${id}: ${what}`);

  function peel(id: string): Peeled | undefined {
    if (now() - scannedAt >= believedFor) {
      objects.rescan();
      scannedAt = now();
      there = new Set();
    }
    const known = peeled.get(id);
    if (known && there.has(id)) return known;
    const type = objects.typeOf(id);
    if (type === undefined) {
      peeled.delete(id);
      return undefined;
    }
    const found = known ?? follow(id, type);
    peeled.set(id, found);
    if (there.size < remembered) there.add(id);
    return found;
  }

  function follow(id: string, firstType: ObjectType): Peeled {
    let at = id;
    let type: ObjectType | undefined = firstType;
    for (let depth = 0; depth < longestTagChain; depth++) {
      if (type === 'tree' || type === 'blob') return { id: at, type };
      const object = objects.read(at);
      if (!object) throw damaged(name, `object ${at} is missing${whyMissing(layout)}`);
      if (object.type === 'commit') {
        parseCommit(object.data, hash.hex, failFor(at));
        return { id: at, type: object.type };
      }
      at = parseTag(object.data, hash.hex, failFor(at));
      type = objects.typeOf(at);
      if (type === undefined) throw damaged(name, `object ${at}, which a tag names, is missing${whyMissing(layout)}`);
    }
    throw damaged(name, `object ${id} is a tag of a tag without end`);
  }

  return {
    peel,
    typeOf: objects.typeOf,
    read: objects.read,
    commit(id) {
      const object = objects.read(id);
      if (!object) throw damaged(name, `commit ${id} is missing${whyMissing(layout)}`);
      if (object.type !== 'commit') throw damaged(name, `object ${id} is a ${object.type}, where a commit was meant`);
      const { data } = object;
      const commit = parseCommit(data, hash.hex, failFor(id));
      return { ...commit, data, ...(readShallow(layout).has(id) ? { parents: [] } : {}) };
    },
    abbreviated(prefix, kind) {
      const all = objects.withPrefix(prefix, mostAbbreviated);
      if (kind === 'objects') return all;
      const isMeant = (id: string) =>
        kind === 'commits' ? objects.typeOf(id) === 'commit' : peel(id)?.type === 'commit';
      return all.filter(isMeant);
    },
    close: objects.close,
  };
}
