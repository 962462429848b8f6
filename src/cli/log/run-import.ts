import { tmpdir } from 'node:os';
import { dirname } from 'node:path';
import { systemEdge } from '../../edge.js';
import { openImporter, storeKind, storeName } from '../../eventstore/open-store.js';
import { type Imported, type ImportStep, importLog } from '../../eventstore/transfer/import-log.js';
import { openExport } from '../../eventstore/transfer/open-export.js';
import { privateFromNow } from '../server/private-from-now.js';
import { note, printLine } from '../text/output.js';
import { printable } from '../text/printable.js';
import { eventCount, progressLine } from '../text/progress-line.js';
import { type LogStore, logStore, meant } from './log-store.js';
import type { StoreOptions } from './store-options.js';

/** Options of `memoir import`. */
export type ImportOptions = StoreOptions & {
  readonly dryRun?: boolean;
  readonly json?: boolean;
};

const steps: Readonly<Record<ImportStep, string>> = {
  verify: 'checked in the file',
  record: 'recorded',
  compare: 'compared in the store',
};

/**
 * Imports a file, or standard input for "-", into a store, or only checks it.
 * @throws MemoirError if the file is wrong, the store holds another log or cannot be written
 */
export async function runImport(file: string, options: ImportOptions): Promise<void> {
  privateFromNow();
  const store = options.dryRun ? undefined : await logStore(options);
  const line = await progressLine('opening', systemEdge.monotonic);
  let done: Imported;
  try {
    done = await meant(() => imported(file, store, (step, events) => line.set(`${eventCount(events)} ${steps[step]}`)));
  } finally {
    line.stop();
  }
  const { header, trailer, there, recorded } = done;
  if (options.json) {
    const { events, lastPosition, root } = trailer;
    const from = { store: header.store, server_version: header.serverVersion, exported_at: header.exportedAt };
    const said = { from, events, last_position: lastPosition, root, there, recorded, dry_run: store === undefined };
    return printLine(JSON.stringify(said));
  }
  const whole = `${eventCount(trailer.events)}, root ${trailer.root}`;
  if (!store) return printLine(`the file is whole: ${whole}`);
  const before = there > 0 ? `, ${eventCount(there)} had been there before` : '';
  return printLine(`${eventCount(recorded)} imported into ${printable(storeName(store.url))}${before}; ${whole}`);
}

async function imported(
  file: string,
  store: LogStore | undefined,
  onProgress: (step: ImportStep, events: number) => void,
): Promise<Imported> {
  const spool = { directory: spoolDirectory(store), unique: systemEdge.uuid() };
  const from = await openExport(file === '-' ? process.stdin : file, spool);
  try {
    const importer = store && (await openImporter(store.url, systemEdge, note));
    try {
      return await importLog(from, importer, (step, { events }) => onProgress(step, events));
    } finally {
      await importer?.close();
    }
  } finally {
    await from.close();
  }
}

/** Where there is room for the log there is room for a copy of the file, which the system's temporary directory may not have. */
function spoolDirectory(store: LogStore | undefined): string {
  if (store?.dataDirectory !== undefined) return store.dataDirectory;
  return store && storeKind(store.url) === 'sqlite' ? dirname(storeName(store.url)) : tmpdir();
}
