import { realpathSync } from 'node:fs';
import { quote } from '../../domain/errors.js';
import { checkAppend } from '../check-append.js';
import { type EventLog, type EventStore, LogRefused, StoreUnreadable } from '../port.js';
import { claimFile, identityOf } from './claim-file.js';
import { lockLog } from './lock.js';
import { openReader } from './reader.js';
import { openLogToExport, openUntouched } from './schema.js';
import { inspectWal, type WalFindings } from './wal-inspection.js';
import { startWriter, type Writer } from './writer.js';
import { replacedFile } from './writer-protocol.js';

/** What is done where the log turns out to have lost writes, or its file. */
export type LossOptions = {
  /**
   * Called before SQLite opens a log whose WAL proves that committed writes are missing: it keeps what there is, moves away a WAL of
   * another file, and lets the opening go on by returning, or throws. Unless it is given, such a log is refused.
   */
  readonly onLoss?: (path: string, findings: WalFindings) => void;
  /** Called with the log before anything can write it, unless it has nothing yet; what it throws refuses the log, as it is. */
  readonly check?: (log: EventLog) => Promise<void>;
  /** Called instead where the file is a new one, or has none of the tables of a log; what it throws leaves it so. */
  readonly onNothing?: () => void;
  /** Called when the file has its name no more while it is open, as when it was removed. */
  readonly onReplaced?: (error: LogRefused) => void;
};

/** How often the file of a log is looked for under its name when nothing is written, in milliseconds. */
const lookInterval = 1_000;

/**
 * Opens the embedded event store: one SQLite file in WAL mode with synchronous=FULL, written by a thread of its own.
 * Appends that arrive while a commit is under way share the next one, and so its fsync (group commit).
 * @throws StoreUnreadable if the file is no log, damaged or newer; StoreUnavailable if another process has it or it cannot be
 * written; LogRefused SHORTER_LOG if its WAL proves that committed writes are missing
 */
export async function openSqliteStore(
  path: string,
  now: () => number,
  { onLoss = refuseLoss, check, onNothing, onReplaced }: LossOptions = {},
): Promise<EventStore> {
  const file = claimFile(path);
  const unlock = lockLog(file);
  try {
    const findings = inspectWal(file);
    if (findings.losses.length > 0) onLoss(file, findings);
    await checkUntouched(file, check, onNothing);
    const writer = await startWriter(file, now);
    const log = await readerOrClose(file, writer);
    const looking = onReplaced && lookFor(file, onReplaced);
    return {
      ...log,
      exclusive: true,
      async append(stream, expected, events) {
        checkAppend(stream, expected, events);
        return writer.append(stream, expected, events);
      },
      async close() {
        clearInterval(looking);
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

function refuseLoss(path: string, { losses }: WalFindings): never {
  throw new LogRefused(
    'SHORTER_LOG',
    `the event log ${quote(path)} lost writes that were acknowledged: ${losses.join('; ')}`,
  );
}

async function checkUntouched(
  file: string,
  check: LossOptions['check'],
  onNothing: LossOptions['onNothing'],
): Promise<void> {
  if (!check && !onNothing) return;
  const db = openUntouched(file);
  if (!db) return onNothing?.();
  if (!check) {
    db.close();
    return;
  }
  const log = openReader(file, db);
  try {
    await check(log);
  } finally {
    await log.close();
  }
}

function lookFor(file: string, onReplaced: (error: LogRefused) => void): NodeJS.Timeout {
  const own = identityOf(file);
  const timer = setInterval(() => {
    if (identityOf(file) === own) return;
    clearInterval(timer);
    onReplaced(new LogRefused('LOG_REPLACED', replacedFile(file)));
  }, lookInterval);
  return timer.unref();
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
