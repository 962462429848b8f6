import type { Capabilities } from '../protocol/capabilities.js';
import { canDeepen, infinite } from '../protocol/fetch-request.js';
import type { Transport } from '../protocol/transport.js';
import type { MirrorStore, Slices } from './mirror-store.js';

/** How the first fetch of a history is cut into slices. */
export type SliceSizes = {
  /** So many commits from every branch and tag on are asked for first. */
  readonly commits: number;
  /** Bytes that a slice is to have, about, as those before let guess. */
  readonly bytes: number;
};

export const sliceSizes: SliceSizes = { commits: 1_000, bytes: 64 * 1024 * 1024 };

/** Where all that is left is asked for. */
const deepest = 10_000_000;

/** By so much a slice is at most larger than the one before; it is as much smaller than one that was cut. */
const factor = { up: 8, down: 4 } as const;

/** Whether a fetch is to be cut into slices: the first one, until all is there, of a remote that can. */
export function inSlices(capabilities: Capabilities, store: MirrorStore): boolean {
  const isFirst = store.slices() !== undefined || store.tips().length === 0;
  return isFirst && canDeepen(capabilities);
}

/**
 * Fetches a history from its ends on, deeper and deeper. Each slice is taken in whole before the next is asked for, so that a connection
 * that is cut costs one slice: a later fetch, in this process or another, goes on from there, with a smaller one. Gives the number of
 * objects.
 * @param fetch - fetches so many commits from the ends on, of which those that are here do not come again. @throws what it throws
 */
export async function fetchSlices(
  transport: Pick<Transport, 'received'>,
  store: MirrorStore,
  sizes: SliceSizes,
  fetch: (depth: number) => Promise<number>,
): Promise<number> {
  let { depth, step } = store.slices() ?? { depth: 0, step: sizes.commits };
  let objects = 0;
  for (;;) {
    const next = depth + step > deepest ? infinite : depth + step;
    store.keepSlices({ depth, step: Math.max(1, Math.floor(step / factor.down)) });
    const before = transport.received();
    objects += await fetch(next);
    if (next === infinite || store.shallow().size === 0) break;
    depth = next;
    step = nextStep(step, sizes.bytes / Math.max(1, transport.received() - before));
  }
  store.keepSlices(undefined);
  return objects;
}

function nextStep(step: Slices['step'], ratio: number): number {
  return Math.max(1, Math.floor(step * Math.min(factor.up, Math.max(1 / factor.down, ratio))));
}
