import { parseCommit } from '../objects/commit.js';
import type { AdvertisedRefs } from '../protocol/list-refs.js';
import type { MirrorStore } from './mirror-store.js';

/** Most commits that are said to be here, of which the remote looks each up. */
const mostHaves = 4_096;

/** Most commits that are read to find some below a tip. */
const mostRead = 20_000;

/**
 * Commits, and tags, that are here with everything that they reach, as a remote may know them: what its refs named before. A remote that
 * does not list one any more may have lost it. Then commits below it are named too, in growing distances along first parents, so that
 * what is in common is found as far up as it matters.
 */
export function havesOf({ refs, head }: AdvertisedRefs, store: MirrorStore): string[] {
  const listed = new Set([...refs.map(({ id }) => id), ...(head === undefined ? [] : [head])]);
  const tips = store.tips();
  const haves = new Set(tips.slice(0, mostHaves));
  const read = { commits: 0 };
  for (const tip of tips) {
    if (listed.has(tip)) continue;
    for (const below of ancestors(tip, store, read)) haves.add(below);
  }
  return [...haves].slice(0, mostHaves);
}

function* ancestors(tip: string, { known, hash }: MirrorStore, read: { commits: number }): Generator<string> {
  let id = tip;
  for (let step = 0, next = 1; read.commits < mostRead; step++, read.commits++) {
    if (step === next) {
      yield id;
      next *= 2;
    }
    const object = known.read(Buffer.from(id, 'hex'));
    if (object?.type !== 'commit') return;
    const [parent] = parseCommit(object.data, hash.hex, () => new Error(`commit ${id} is malformed`)).parents;
    if (parent === undefined || known.typeOf(Buffer.from(parent, 'hex')) === undefined) return;
    id = parent;
  }
}
