import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { type ErrorDetails, MemoirError, quote } from '../domain/errors.js';
import type { Edge } from '../edge.js';
import type { Place } from './health.js';
import { type PlaceSettings, workerPlaces } from './places.js';
import { keptPlace, storePlace, workPlace } from './run-failure.js';
import { type ContentStore, openContentStore } from './store/content-store.js';
import { openWorkDirectory, type WorkDirectory } from './work-directory.js';

/** What a worker is told of its places, as paths without relative parts. */
export type ConfiguredPlaces = Pick<PlaceSettings, 'kept' | 'repositories' | 'minFreeBytes'> & {
  readonly workDir: string;
  /** Undefined if outputs are uploaded. */
  readonly storeDir: string | undefined;
  readonly edge: Pick<Edge, 'uuid' | 'now'>;
  readonly onDamage: (sha256: string) => void;
};

/** A worker's places, opened and found well. */
export type CheckedPlaces = {
  readonly places: readonly Place[];
  /** Undefined if outputs are uploaded. */
  readonly store: ContentStore | undefined;
  readonly work: WorkDirectory;
};

/**
 * Opens all places that a worker is told of and probes each, so that what is mistyped or not usable is refused before any job is claimed.
 * @throws MemoirError INVALID_ARGUMENT BAD_OPTIONS, naming the option, its value and what is wrong with it
 */
export async function checkedPlaces(configured: ConfiguredPlaces): Promise<CheckedPlaces> {
  const { workDir, storeDir, kept, repositories, minFreeBytes, edge, onDamage } = configured;
  await named('work-dir', workDir, async () => {
    if (!(await stat(workDir)).isDirectory()) throw new Error('is no directory');
    await access(workDir, constants.R_OK | constants.W_OK | constants.X_OK);
  });
  const keptOption = 'a server with keep_commits makes it in its data directory as git/kept';
  if (kept !== undefined) {
    await named('kept', kept, async () => {
      const found = await stat(kept).catch(() => undefined);
      if (!found?.isDirectory()) throw new Error(`is no directory; ${keptOption}`);
    });
  }
  const store =
    storeDir === undefined
      ? undefined
      : await named('store-dir', storeDir, () => openContentStore(storeDir, { edge, onDamage }));
  const work = await named('work-dir', workDir, () => openWorkDirectory(workDir, process.pid));
  const places = workerPlaces({
    workBase: workDir,
    work,
    storage: store && storeDir !== undefined ? { directory: storeDir, store } : undefined,
    kept,
    repositories,
    minFreeBytes,
  });
  try {
    for (const place of places) await named(...optionOf(place, configured), () => place.probe());
  } catch (error) {
    await work.remove();
    throw error;
  }
  return { places, store, work };
}

function optionOf(place: Place, { workDir, storeDir, kept = '', repositories }: ConfiguredPlaces): [string, string] {
  switch (place.name) {
    case workPlace:
      return ['work-dir', workDir];
    case storePlace:
      return ['store-dir', storeDir ?? ''];
    case keptPlace:
      return ['kept', kept];
    default: {
      const name = place.repository ?? '';
      return ['repository', `${name}=${repositories[name]?.path}`];
    }
  }
}

async function named<T>(option: string, value: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const details: ErrorDetails = { field: option, cause: error };
    const why = (error as Error).message;
    const said = why.startsWith('is ') ? why : `cannot be used: ${why}`;
    throw new MemoirError('INVALID_ARGUMENT', 'BAD_OPTIONS', `--${option} ${quote(value)} ${said}`, details);
  }
}
