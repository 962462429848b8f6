import { realpathSync } from 'node:fs';
import { quote } from '../../domain/errors.js';
import { checkAppend } from '../check-append.js';
import { type EventLog, type EventStore, StoreUnreadable } from '../port.js';
import { claimFile } from './claim-file.js';
import { lockLog } from './lock.js';
import { openReader } from './reader.js';
import { openLogToExport } from './schema.js';
import { startWriter, type Writer } from './writer.js';

/**
 * Opens the embedded event store: one SQLite file in WAL mode with synchronous=FULL, written by a thread of its own.
 * Appends that arrive while a commit is under way share the next one, and so its fsync (group commit).
 * @throws StoreUnreadable if the file is no log, damaged or newer; StoreUnavailable if another process has it or it cannot be
 * written
 */
export async function openSqliteStore(path: string, now: () => number): Promise<EventStore> {
  const file = claimFile(path);
  const unlock = lockLog(file);
  try {
    const writer = await startWriter(file, now);
    const log = await readerOrClose(file, writer);
    return {
      ...log,
      exclusive: true,
      async append(stream, expected, events) {
        checkAppend(stream, expected, events);
        return writer.append(stream, expected, events);
      },
      async close() {
        await writer.close();
        await log.close();
        unlock();
      },
    };
  } catch (error) {
    unlock();
    throw error;
  }
}

async function readerOrClose(file: string, writer: Writer): Promise<EventLog> {
  try {
    return openReader(file);
  } catch (error) {
    await writer.close();
    throw error;
  }
}

/** Opens the embedded store's log for reading only, in a thread of the process that has it open as a store. */
export function openSqliteLog(path: string): EventLog {
  return openReader(realpathSync(path));
}

/**
 * Opens the log of an embedded store for reading only, whether another process has it open or none.
 * @throws StoreUnreadable if there is none, or events are missing in it; StoreUnavailable if it cannot be opened
 */
export function openSqliteExport(path: string): EventLog {
  let file: string;
  try {
    file = realpathSync(path);
  } catch (error) {
    throw new StoreUnreadable(`there is no event log ${quote(path)}: ${(error as Error).message}`, error);
  }
  return openReader(file, openLogToExport(file));
}
