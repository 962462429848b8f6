import { quote } from '../../domain/errors.js';
import { tryLock } from '../../file-lock.js';
import { StoreUnavailable } from '../port.js';

/**
 * Takes the log at `path` for this process alone, until the returned function is called or the process ends, however it ends.
 * @throws StoreUnavailable if another process, or another store of this one, has it, or the lock's file cannot be made
 */
export function lockLog(path: string): () => void {
  return lockFile(
    path,
    'the event log',
    'the embedded store belongs to one process, several servers need a KurrentDB store',
  );
}

/**
 * Takes a file for this process alone, as `lockLog` does. `what` and `advice` are words for the message. The lock is on an
 * empty file beside it.
 */
export function lockFile(path: string, what: string, advice: string): () => void {
  let unlock: (() => void) | undefined;
  try {
    unlock = tryLock(`${path}.lock`);
  } catch (error) {
    const why = `${what} ${quote(path)} cannot be locked by ${quote(`${path}.lock`)}: ${(error as Error).message}`;
    throw new StoreUnavailable(why, error);
  }
  if (unlock) return unlock;
  throw new StoreUnavailable(`${what} ${quote(path)} is in use by another Memoir server; ${advice}`);
}
