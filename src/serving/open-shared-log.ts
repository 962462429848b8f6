import { keptGeneration, keptLeaves, keptPlaces, knownRuns, setAside } from '../../projections/running/kept-files.js';
import type { GuardedStore } from '../eventstore/format-guard.js';
import { type Contradiction, compareTwice, contradicted, type KeptLeaves } from '../eventstore/kept-places.js';
import { openStore, storeName, storeUrlOf } from '../eventstore/open-store.js';
import { start, WrongExpectedRevision } from '../eventstore/port.js';
import { beginGeneration, type LostRuns, lastGeneration, recordLostRuns } from '../history/begin-generation.js';
import { asideDirectory, keptFiles, type Opening } from './opening.js';

/** How often a generation is begun again after another server did so at the same moment. */
const mostAttempts = 10;

/**
 * Opens the log that several servers share, if it is what this server's files say; nothing is changed otherwise. Where an operator accepts
 * another, the first server begins a generation, and the others find it. Each records the runs that it knew and the log does not have.
 * @throws LogRefused SHORTER_LOG or OTHER_LOG, saying from where it differs and what the choices are; MemoirError
 * LOG_FORMAT_NOT_ALLOWED if what must be recorded needs a log format that the settings do not allow; and as `openStore`
 */
export async function openSharedLog({
  config,
  files,
  edge,
  accepted,
  signing,
  logger,
}: Opening): Promise<GuardedStore> {
  const url = storeUrlOf(config);
  const kept = keptFiles(files);
  const places = keptPlaces(kept);
  const leaves = keptLeaves(files.history);
  const store = await openStore(url, edge, (message) => logger.warn(message), { allowed: config.log_format, signing });

  /** What was to be accepted, recorded once by all servers together. */
  async function accept(found: Contradiction): Promise<void> {
    const flag = found.kind === 'other' ? accepted.otherLog : accepted.shorterLog;
    const there = found.kind === 'other' ? (found.same ?? start) : (found.found?.position ?? start);
    const runs: readonly LostRuns[] = knownRuns(files.readModel, there);
    for (let attempt = 1; ; attempt++) {
      const last = await lastGeneration(store);
      const begun = last !== undefined && last.generation > keptGeneration(files.readModel);
      // A generation that began because of what these files know too was begun for this log.
      const forThis = begun && last.known !== undefined && knows(leaves, places, Number(last.known.position));
      if (!flag && !forThis) throw contradicted(storeName(url), found);
      try {
        if (begun) await recordLostRuns(store, edge, runs);
        else await beginGeneration(store, edge, found, runs);
        return;
      } catch (error) {
        if (!(error instanceof WrongExpectedRevision) || attempt === mostAttempts) throw error;
      }
    }
  }

  try {
    const found = await compareTwice(store, places, leaves);
    if (!found) return store;
    await accept(found);
    const directory = asideDirectory(config.data_dir, edge);
    setAside(kept, directory);
    logger.warn(
      { ...found, directory },
      'went on with a log that is not what was known of it, as was asked for; what was kept of the one before was moved aside',
    );
    return store;
  } catch (error) {
    await store.close();
    throw error;
  }
}

function knows(leaves: KeptLeaves | undefined, places: readonly { readonly position: number }[], position: number) {
  return leaves?.hashAt(position) !== undefined || places.some((place) => place.position === position);
}
