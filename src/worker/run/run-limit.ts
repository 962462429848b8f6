import { setTimeout as sleep } from 'node:timers/promises';
import { type Duration, durationMs } from '@bufbuild/protobuf/wkt';
import type { Edge } from '../../edge.js';
import { RunFailure } from '../run-failure.js';

/** Longest time between two looks at the clock, in milliseconds: a timer is not exact over days, nor while a machine sleeps. */
const longestSleep = 60_000;

/** Calls `onOver` when an attempt has run for as long as its job lets it, unless it has finished before. Without a limit it does nothing. */
export async function watchRunLimit(
  limit: Duration | undefined,
  edge: Pick<Edge, 'monotonic'>,
  finished: AbortSignal,
  onOver: (failure: RunFailure) => void,
): Promise<void> {
  if (!limit) return;
  const ms = durationMs(limit);
  const begun = edge.monotonic();
  while (!finished.aborted) {
    const left = begun + ms - edge.monotonic();
    if (left <= 0) {
      onOver(new RunFailure('RUN_LIMIT', `the attempt took longer than its limit of ${ms / 1_000} s`));
      return;
    }
    await sleep(Math.min(left, longestSleep), undefined, { signal: finished }).catch(() => {});
  }
}
