import { existsSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { keptPlaces, knownRuns, setAside } from '../../projections/running/kept-files.js';
import type { ServerConfig } from '../config.js';
import { quote } from '../domain/errors.js';
import type { GuardedStore } from '../eventstore/format-guard.js';
import { choices, compareWithKept, contradicted } from '../eventstore/kept-places.js';
import { absenceOfLog, openStore, storeKind, storeName, storeUrlOf } from '../eventstore/open-store.js';
import { type EventLog, LogRefused, start } from '../eventstore/port.js';
import type { WalFindings } from '../eventstore/sqlite/wal-inspection.js';
import { copyDurably } from '../files/durable-file.js';
import { beginGeneration, isAccepted } from '../history/begin-generation.js';
import { makeDirectory } from '../make-directory.js';
import { openSharedLog } from './open-shared-log.js';
import { asideDirectory, keptFiles, type Opening } from './opening.js';

/**
 * Opens the log of a server, if it is what the files say that are kept beside it; nothing is changed otherwise. With `accepted` a
 * generation of the log begins, and what was kept of the one before is moved into a directory of its own.
 * @throws LogRefused SHORTER_LOG, LOG_MISSING or OTHER_LOG, saying what is missing and what the choices are; and as `openStore`
 */
export async function openServersLog(opening: Opening): Promise<GuardedStore> {
  const { config, files, edge, accepted, logger } = opening;
  const url = storeUrlOf(config);
  const onTrouble = (message: string) => logger.warn(message);
  const formats = { allowed: config.log_format };
  if (storeKind(url) !== 'sqlite') return openSharedLog(opening);

  const name = storeName(url);
  const kept = keptFiles(files);
  const places = keptPlaces(kept);
  const aside = asideDirectory(config.data_dir, edge);
  let lost: string | undefined;

  const absent = absenceOfLog(url);
  const evidence = places[0]?.what ?? evidenceOf(config, name);
  if (absent !== undefined && evidence !== undefined) {
    lost = `the event log ${quote(name)} ${absent}, and ${evidence} shows that there was one`;
    if (!accepted.shorterLog) {
      throw new LogRefused('LOG_MISSING', `${lost}: is its volume mounted? ${choices}--accept-shorter-log`);
    }
  }
  function onLoss(path: string, { losses, foreign }: WalFindings): void {
    lost = `the event log ${quote(path)} lost writes that were acknowledged: ${losses.join('; ')}`;
    if (!accepted.shorterLog) throw new LogRefused('SHORTER_LOG', `${lost}. ${choices}--accept-shorter-log`);
    keepWal(path, aside(), foreign);
  }

  /** What is refused is refused before the log can be written. */
  async function check(log: EventLog): Promise<void> {
    const found = await compareWithKept(log, places);
    // What was accepted once is accepted, though the server may have died before the files were moved.
    if (!found || (await isAccepted(log, found))) return;
    if (!(found.kind === 'other' ? accepted.otherLog : accepted.shorterLog)) {
      throw contradicted(name, found, `${choices}--accept-${found.kind}-log`);
    }
  }

  const store = await openStore(url, edge, onTrouble, { ...formats, onLoss, check });
  try {
    const found = await compareWithKept(store, places);
    const begun = found !== undefined && (await isAccepted(store, found));
    if ((found || lost !== undefined) && !begun) {
      const cause = found ?? { kind: 'shorter' };
      const runs = found
        ? knownRuns(files.readModel, found.kind === 'other' ? start : (found.found?.position ?? start))
        : [];
      const generation = await beginGeneration(store, edge, cause, runs);
      logger.warn(
        { generation, lost, ...cause },
        'went on with a log that is not what was known of it, as was asked for',
      );
    }
    if (found) {
      setAside(kept, aside());
      logger.warn({ directory: aside() }, 'the files that were kept of the log before were moved aside');
    }
    return store;
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** What else shows that there was a log, where no projection does. */
function evidenceOf(config: ServerConfig, log: string): string | undefined {
  const beside = [
    `${log}-wal`,
    ...(config.checkpoint_key === undefined ? [join(config.data_dir, 'checkpoint.key')] : []),
  ];
  const there = beside.find((path) => existsSync(path));
  return there && quote(there);
}

/** Keeps a WAL before SQLite changes it, and takes one away that is of another file. */
function keepWal(path: string, directory: string, foreign: boolean): void {
  makeDirectory(directory);
  for (const suffix of ['-wal', '-shm']) {
    const to = join(directory, basename(path) + suffix);
    if (!existsSync(path + suffix)) continue;
    copyDurably(path + suffix, to);
    if (foreign) rmSync(path + suffix);
  }
}
