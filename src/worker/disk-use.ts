import { lstat, readdir } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RunPlaces } from './run/run-places.js';
import { RunFailure } from './run-failure.js';
import { type OutputLimits, tooLarge } from './store/output-files.js';

/** How much a run may take of the disk while it runs. */
export type DiskLimits = {
  /** Of the output: what it may have when it is stored. */
  readonly output: OutputLimits;
  /** Most bytes of the working directory, the temporary one and the output together. */
  readonly work: number;
  /** The same as the job asked for it, in MiB; 0, or absent, if it asked for none. */
  readonly scratchMb?: number;
};

const mebi = 1024 ** 2;

/** Shortest pause between two looks, in milliseconds. */
const shortestPause = 500;

/** How many times as long as a look the pause after it is: looking may take a twentieth of the time. */
const patience = 20;

/** What a directory takes of the disk. */
type DiskUse = { readonly bytes: number; readonly files: number };

/**
 * Looks again and again, until `ended` aborts, at what a run takes of the disk: blocks, so that holes count nothing. What a script has
 * locked away or removed while it has it open is not seen.
 * @param onExceeded called once, with the failure, when that is more than it may be
 */
export async function watchDiskUse(
  places: RunPlaces,
  limits: DiskLimits,
  ended: AbortSignal,
  onExceeded: (failure: RunFailure) => void,
): Promise<void> {
  for (let pause = shortestPause; ; ) {
    await sleep(pause, undefined, { signal: ended }).catch(() => {});
    if (ended.aborted) return;
    const began = performance.now();
    const output = await diskUse(places.output, ended);
    const elsewhere = [await diskUse(places.tree, ended), await diskUse(places.tmp, ended)];
    if (ended.aborted) return;
    const exceeded = tooMuch(output, elsewhere, limits);
    if (exceeded) return onExceeded(exceeded);
    pause = Math.max(shortestPause, patience * (performance.now() - began));
  }
}

function tooMuch(output: DiskUse, elsewhere: readonly DiskUse[], limits: DiskLimits): RunFailure | undefined {
  const { bytes, files } = limits.output;
  const running = 'when the script had not ended';
  if (output.bytes > bytes) return failure(tooLarge(`its files had ${output.bytes} of ${bytes} bytes ${running}`));
  if (output.files > files) return failure(tooLarge(`it had ${output.files} of ${files} files ${running}`));
  const all = elsewhere.reduce((sum, one) => sum + one.bytes, output.bytes);
  const took = `the script took ${all} bytes of the disk`;
  const together = 'its working directory, its temporary directory and its output';
  // What the worker lets no run have is told as such, also where the job asked for more.
  if (all > limits.work) {
    return new RunFailure('WORK_TOO_LARGE', `${took}, of ${limits.work} that ${together} may have together`);
  }
  const { scratchMb = 0 } = limits;
  if (scratchMb === 0 || all <= scratchMb * mebi) return undefined;
  return new RunFailure('SCRATCH_LIMIT', `${took}, of ${scratchMb} MiB that the job asked for; ${together} count`);
}

const failure = ({ reason, message }: { readonly reason: string; readonly message: string }) =>
  new RunFailure(reason, message);

/** What a directory takes of the disk, as far as it was looked through when `ended` aborted. */
export async function diskUse(top: string, ended?: AbortSignal): Promise<DiskUse> {
  let bytes = 0;
  let files = 0;
  const left = [Buffer.from(top)];
  for (let directory = left.pop(); directory !== undefined && !ended?.aborted; directory = left.pop()) {
    for (const entry of await readdir(directory, { encoding: 'buffer', withFileTypes: true }).catch(() => [])) {
      const path = Buffer.concat([directory, Buffer.from('/'), entry.name]);
      const found = await lstat(path).catch(() => undefined);
      if (!found) continue;
      bytes += found.blocks * 512;
      if (entry.isDirectory()) left.push(path);
      else files++;
    }
  }
  return { bytes, files };
}
