import { mkdirSync, realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { EventLog, EventStore } from '../port.js';
import { lockLog } from './lock.js';
import { openReader } from './reader.js';
import { startWriter } from './writer.js';

/**
 * Opens the embedded event store: one SQLite file in WAL mode with synchronous=FULL, written by a thread of its own.
 * Appends that arrive while a commit is under way share the next one, and so its fsync (group commit).
 * @throws StoreUnreadable if the file is no log, damaged or newer; StoreUnavailable if another process has it
 */
export async function openSqliteStore(path: string, now: () => number): Promise<EventStore> {
  mkdirSync(dirname(path), { recursive: true });
  const file = canonical(path);
  const unlock = lockLog(file);
  try {
    const writer = await startWriter(file, now);
    const log = openReader(file);
    return {
      ...log,
      append(stream, expected, events) {
        if (events.length === 0) return Promise.reject(new Error(`an append to ${stream} without events`));
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

/** Opens the embedded store's log for reading only, in a thread of the process that has it open as a store. */
export function openSqliteLog(path: string): EventLog {
  return openReader(canonical(path));
}

function canonical(path: string): string {
  return join(realpathSync(dirname(path)), basename(path));
}
