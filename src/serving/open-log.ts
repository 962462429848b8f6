import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { keptPlaces, knownRuns, setAside } from '../../projections/running/kept-files.js';
import type { ServerConfig } from '../config.js';
import { quote } from '../domain/errors.js';
import type { GuardedStore } from '../eventstore/format-guard.js';
import { type Contradiction, choices, compareWithKept, contradicted, lastOfItsOwn } from '../eventstore/kept-places.js';
import { absenceOfLog, openStore, storeKind, storeName, storeUrlOf } from '../eventstore/open-store.js';
import { type EventLog, LogRefused, start } from '../eventstore/port.js';
import type { WalFindings } from '../eventstore/sqlite/wal-inspection.js';
import { beginGeneration, hasBegun, isAccepted } from '../history/begin-generation.js';
import { type KeptTree, openKeptTree } from '../history/verify/kept-tree.js';
import {
  type Acceptance,
  beginAcceptance,
  begunWords,
  endAcceptance,
  keepWal,
  unfinishedAcceptance,
} from './acceptance.js';
import { type KeptCheckpoint, readKeptCheckpoint } from './kept-checkpoint.js';
import { openSharedLog } from './open-shared-log.js';
import { keptFiles, type Opening } from './opening.js';

/** A log that was opened. */
export type OpenedLog = {
  readonly store: GuardedStore;
  /** The last checkpoint that was kept of it; undefined if none was. */
  readonly checkpoint: KeptCheckpoint | undefined;
};

/**
 * Opens the log of a server, if it is what the files say that are kept beside it; nothing is changed otherwise. With `accepted` a
 * generation of the log begins, and what was kept of the one before is moved into a directory of its own.
 * @throws LogRefused SHORTER_LOG, LOG_MISSING or OTHER_LOG, saying what is missing and what the choices are; and as `openStore`
 */
export async function openServersLog(opening: Opening): Promise<OpenedLog> {
  const { config, files, keptCheckpoint, edge, accepted, signing, logger } = opening;
  const url = storeUrlOf(config);
  const onTrouble = (message: string) => logger.warn(message);
  const formats = { allowed: config.log_format, signing };
  if (storeKind(url) !== 'sqlite') {
    return { store: await openSharedLog(opening), checkpoint: undefined };
  }

  const name = storeName(url);
  const projections = keptFiles(files);
  const kept = { path: keptCheckpoint, what: `the checkpoint ${quote(keptCheckpoint)}` };
  const checkpoint = readOrWarn(keptCheckpoint, logger);
  const places = [...keptPlaces(projections), ...(checkpoint ? [{ ...kept, ...checkpoint }] : [])];
  const unfinished = unfinishedAcceptance(config.data_dir);
  let acceptance = unfinished;
  const accepting = () => {
    acceptance ??= beginAcceptance(config.data_dir, edge);
    return acceptance;
  };
  let lost = unfinished && `the event log ${quote(name)} is not what it was: ${begunWords(unfinished)}`;

  function missing(how: string, evidence: string | undefined): void {
    if (evidence === undefined) return;
    lost = `the event log ${quote(name)} ${how}, and ${evidence} shows that there was one`;
    if (accepted.shorterLog) return;
    throw new LogRefused('LOG_MISSING', `${lost}: is its volume mounted? ${choices}--accept-shorter-log`);
  }
  const evidence = places[0]?.what ?? evidenceOf(config, unfinished);
  const absent = absenceOfLog(url);
  if (absent !== undefined) missing(absent, evidence ?? existing([`${name}-wal`]));

  /** All that a log has before it was first copied from its -wal is there, so that the file without it has no table. */
  function onNothing(): void {
    if (absent === undefined) missing('has nothing of a log in it, as a copy without its -wal', evidence);
  }
  function onLoss(path: string, { losses, foreign }: WalFindings): void {
    lost = `the event log ${quote(path)} lost writes that were acknowledged: ${losses.join('; ')}`;
    if (!accepted.shorterLog) throw new LogRefused('SHORTER_LOG', `${lost}. ${choices}--accept-shorter-log`);
    keepWal(accepting(), path, foreign);
  }

  /** What the log has against what is kept. Only with `otherLog` by the tree too, which may be damaged: it is told when it was checked. */
  async function contradiction(log: EventLog): Promise<Contradiction | undefined> {
    const found = await compareWithKept(log, places);
    if (found || !checkpoint || !accepted.otherLog || !treeContradicts(files.history, checkpoint)) return found;
    return { kind: 'other', known: { ...kept, ...checkpoint }, found: await lastOfItsOwn(log) };
  }

  /** What was accepted once is accepted, though the server may have died before the files were moved. */
  async function begun(log: EventLog, found: Contradiction | undefined): Promise<boolean> {
    if (unfinished && (await hasBegun(log, unfinished.generation))) return true;
    return found !== undefined && (await isAccepted(log, found));
  }

  function refuseUnlessAccepted(found: Contradiction): void {
    if (!(found.kind === 'other' ? accepted.otherLog : accepted.shorterLog)) throw contradicted(name, found);
  }

  /** What is refused is refused before the log can be written. */
  async function check(log: EventLog): Promise<void> {
    const found = await contradiction(log);
    if (await begun(log, found)) return;
    if (found) refuseUnlessAccepted(found);
    if (unfinished && !accepted.shorterLog && !accepted.otherLog) {
      throw new LogRefused('SHORTER_LOG', `${lost}. ${choices}--accept-shorter-log`);
    }
  }

  const store = await openStore(url, edge, onTrouble, { ...formats, onLoss, check, onNothing });
  try {
    const found = await contradiction(store);
    if ((found || lost !== undefined) && !(await begun(store, found))) {
      if (found) refuseUnlessAccepted(found);
      const cause = found ?? { kind: 'shorter' };
      const runs = found
        ? knownRuns(files.readModel, found.kind === 'other' ? start : (found.found?.position ?? start))
        : [];
      const generation = await beginGeneration(store, edge, cause, runs, accepting().generation);
      logger.warn(
        { generation, lost, ...cause },
        'went on with a log that is not what was known of it, as was asked for',
      );
    }
    if (found) {
      const { directory } = accepting();
      setAside([...projections, kept], directory);
      logger.warn({ directory }, 'the files that were kept of the log before were moved aside');
    }
    if (acceptance) endAcceptance(acceptance);
    return { store, checkpoint: found ? undefined : checkpoint };
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** A file that is no checkpoint knows nothing, and is made anew. */
function readOrWarn(path: string, logger: Logger): KeptCheckpoint | undefined {
  try {
    return readKeptCheckpoint(path);
  } catch (error) {
    logger.warn({ err: error }, 'the last checkpoint of the log is not known');
    return undefined;
  }
}

/** Whether the tree in a history has another root than a checkpoint says. */
function treeContradicts(history: string, { size, root }: KeptCheckpoint): boolean {
  let tree: KeptTree | undefined;
  try {
    tree = openKeptTree(history);
    return tree !== undefined && tree.size >= size && Buffer.compare(tree.root(size), root) !== 0;
  } catch {
    return false;
  } finally {
    tree?.close();
  }
}

/** What else shows that there was a log, where no projection does. */
function evidenceOf(config: ServerConfig, unfinished: Acceptance | undefined): string | undefined {
  return existing([
    ...(unfinished ? [unfinished.directory] : []),
    ...(config.checkpoint_key === undefined ? [join(config.data_dir, 'checkpoint.key')] : []),
  ]);
}

/** The first of some files that is there, as it is named in messages. */
function existing(paths: readonly string[]): string | undefined {
  const there = paths.find((path) => existsSync(path));
  return there && quote(there);
}
