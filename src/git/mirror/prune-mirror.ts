import { join } from 'node:path';
import { readLayout } from '../layout.js';
import { hasLostBefore, keepLostTips, readLostTips } from '../prune/lost-tips.js';
import { type Pruned, prunePacks } from '../prune/prune-packs.js';
import type { MirrorSource } from './fetch-mirror.js';
import { isDone, openMirrorStore } from './mirror-store.js';

/** What stays in a mirror, besides what its remote has. */
export type Staying = {
  /** Full hashes that count if they are there, with everything that they reach. */
  readonly commits: readonly string[];
  /** What refs named until after this time of the wall clock, in milliseconds, stays too. */
  readonly lostBefore: number;
};

const nothing: Pruned = { objects: 0, packs: 0 };

/** Whether a mirror may have something that no ref has named since a time of the wall clock, in milliseconds. */
export function mayPrune({ directory }: Pick<MirrorSource, 'directory'>, lostBefore: number): boolean {
  const fetched = join(directory, 'fetched.git');
  return isDone(fetched) && hasLostBefore(fetched, lostBefore);
}

/**
 * Removes from a mirror what no ref of the remote has reached for long, and what is not to stay for another reason. There must be no fetch at the
 * same time.
 * @throws as `prunePacks`
 */
export async function pruneMirror(
  { directory, limits }: Pick<MirrorSource, 'directory' | 'limits'>,
  { commits, lostBefore }: Staying,
): Promise<Pruned> {
  const fetched = join(directory, 'fetched.git');
  if (!mayPrune({ directory }, lostBefore)) return nothing;
  const store = openMirrorStore(fetched, readLayout('mirror', fetched).hash, limits);
  try {
    const known = readLostTips(fetched);
    if (!known) return nothing;
    const lost = new Map([...known.lost].filter(([, at]) => at > lostBefore));
    const roots = { must: store.tips(), may: [...lost.keys(), ...commits] };
    const pruned = await prunePacks(fetched, roots, store.known, store.shallow(), store.hash);
    keepLostTips(fetched, { since: known.since, lost });
    return pruned;
  } finally {
    store.close();
  }
}
