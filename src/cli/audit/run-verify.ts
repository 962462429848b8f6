import { existsSync, realpathSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import Database from 'better-sqlite3';
import { pastFiles } from '../../../projections/history/as-of.js';
import { checkpointKeySettings } from '../../config/settings.js';
import { invalid, MemoirError, quote } from '../../domain/errors.js';
import { openCheckpoint } from '../../domain/log-tree/checkpoint.js';
import type { VerifierKey } from '../../domain/log-tree/verifier-key.js';
import { systemEdge } from '../../edge.js';
import { openLog, storeName } from '../../eventstore/open-store.js';
import { readExport } from '../../eventstore/transfer/read-export.js';
import { openCheckpointKey } from '../../history/checkpoint-key.js';
import { type KeptTree, openKeptTree } from '../../history/verify/kept-tree.js';
import { eventSource, type LogSource, sqliteSource, storeSource } from '../../history/verify/log-source.js';
import { verifyLog } from '../../history/verify/verify-log.js';
import { exitCodes } from '../exit-code.js';
import { type LogStore, logStore, meant } from '../log/log-store.js';
import { type StoreOptions, sourcesOf } from '../log/store-options.js';
import { note, printLine } from '../text/output.js';
import { printable } from '../text/printable.js';
import { eventCount, progressLine } from '../text/progress-line.js';
import { verifiedJson, verifiedText } from '../text/verify-text.js';
import { type KeyOptions, keysOf, readSmall } from './audit-evidence.js';

/** Options of `memoir audit verify`. */
export type VerifyOptions = StoreOptions &
  KeyOptions & {
    readonly checkpoint?: readonly string[];
    readonly export?: string;
    readonly history?: string;
    readonly structure?: boolean;
    readonly threads: number;
    readonly json?: boolean;
  };

/**
 * Verifies a log by the checkpoints that were kept and those in it, and prints what was found. The exit code tells of damage, and
 * of a log of which nothing is proved.
 * @throws MemoirError INVALID_ARGUMENT if a checkpoint, a key or the store is none; DATA_LOSS if a checkpoint is forged, or the log
 * cannot be read at all
 */
export async function runVerify(options: VerifyOptions): Promise<void> {
  const keys = await trustedKeys(options);
  const held = (options.checkpoint ?? []).map((source) => ({
    source,
    checkpoint: openCheckpoint(readSmall(source), keys),
  }));
  const store = options.export === undefined ? await logStore(options) : undefined;
  await meant(async () => {
    // Before the log, which then has at least what the tree has.
    const kept = keptTree(options, store);
    try {
      const source = store ? await logSource(store.url, options) : exportSource(options.export ?? '');
      const line = await progressLine('opening the log', systemEdge.monotonic);
      try {
        const found = await verifyLog(source, { held, keys, kept }, (events) =>
          line.set(`${eventCount(events)} verified`),
        );
        line.stop();
        await printLine(options.json ? verifiedJson(found) : verifiedText(found));
        if (found.damage.length > 0) process.exitCode = exitCodes.damaged;
        else if (found.provenEvents === 0) process.exitCode = exitCodes.unproved;
      } catch (error) {
        throw store ? unreadable(error, store.url) : error;
      } finally {
        line.stop();
        await source.close();
      }
    } finally {
      kept?.close();
    }
  });
}

/** The keys that were given, or else the one that the server signs with. */
async function trustedKeys(options: VerifyOptions): Promise<readonly VerifierKey[]> {
  const given = keysOf(options);
  if (given.length > 0) return given;
  const place = await checkpointKeySettings(sourcesOf(options));
  if (place && existsSync(place.path)) {
    const { key } = openKey(place);
    note(`no --key was given, so that of the data directory is trusted: ${printable(key.text)}`);
    return [key];
  }
  if (options.checkpoint) throw invalid('key', 'REQUIRED', 'a checkpoint is verified by a key: give it by --key');
  return [];
}

function openKey({ path, origin }: { readonly path: string; readonly origin: string | undefined }) {
  try {
    return openCheckpointKey({ path, origin, make: false });
  } catch (error) {
    throw invalid('key', 'BAD_KEY', (error as Error).message);
  }
}

function keptTree(options: VerifyOptions, store: LogStore | undefined): KeptTree | undefined {
  const beside = store && isSqlite(store.url) ? dirname(storeName(store.url)) : undefined;
  const directory = store?.dataDirectory ?? beside;
  const path = options.history ?? (directory && pastFiles(directory).history);
  if (path === undefined) return undefined;
  try {
    const kept = openKeptTree(path);
    if (!kept && options.history !== undefined) throw new Error('there is no such file');
    return kept;
  } catch (error) {
    if (options.history !== undefined) {
      throw invalid('history', 'CANNOT_READ', `${quote(path)} cannot be used: ${(error as Error).message}`);
    }
    note(`the kept tree in ${quote(path)} cannot be used: ${printable((error as Error).message)}`);
    return undefined;
  }
}

/** An export, whose own checks find a file that was damaged on its way; a file that somebody made fit is found by checkpoints. */
function exportSource(path: string): LogSource {
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found) throw invalid('export', 'CANNOT_READ', `there is no export ${quote(path)}`);
  if (found.isDirectory()) throw invalid('export', 'CANNOT_READ', `${quote(path)} is a directory`);
  return eventSource(async function* () {
    for await (const { events } of readExport(path)) yield events;
  });
}

async function logSource(url: string, { threads, structure }: VerifyOptions): Promise<LogSource> {
  if (!isSqlite(url)) return storeSource(await openLog(url, systemEdge, note, true, noKeys));
  const path = storeName(url);
  if (!existsSync(path)) throw invalid('store', 'CANNOT_READ', `there is no event log ${quote(path)}`);
  try {
    return sqliteSource(realpathSync(path), { threads, structure: structure ?? false });
  } catch (error) {
    throw unreadable(error, url);
  }
}

/** What is hashed is the same, whoever signed it. */
const noKeys = { trusted: [], retired: [] };

const isSqlite = (url: string) => url.startsWith('sqlite:');

/** A log of which SQLite can read nothing is damage too. */
function unreadable(error: unknown, url: string): unknown {
  if (!(error instanceof Database.SqliteError)) return error;
  const message = `the event log ${quote(storeName(url))} cannot be read at all: ${error.message}`;
  return new MemoirError('DATA_LOSS', 'LOG_UNREADABLE', message, { cause: error });
}
