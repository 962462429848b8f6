import { closeSync, lstatSync, openSync, readlinkSync, realpathSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { quote } from '../../domain/errors.js';
import { makeDirectory } from '../../make-directory.js';
import { StoreUnavailable } from '../port.js';

/**
 * The file itself, made if there is none, whatever links lead to it: its lock stands beside it, and two paths to one log must
 * lead to one lock.
 * @throws StoreUnavailable naming the path if there can be no file
 */
export function claimFile(path: string): string {
  try {
    const there = statSync(path, { throwIfNoEntry: false });
    // To open a pipe would wait for who writes to it.
    if (there && !there.isFile() && !there.isDirectory())
      throw new Error('it is a pipe, a socket or a device, and no file');
    makeDirectory(dirname(path));
    closeSync(openSync(path, 'a'));
    return realpathSync(path);
  } catch (error) {
    throw new StoreUnavailable(`the event log ${quote(path)} cannot be opened: ${(error as Error).message}`, error);
  }
}

/** Why there is no log at a path, as words behind its name; undefined if there is a file that holds something. */
export function absenceOf(path: string): string | undefined {
  const there = statSync(path, { throwIfNoEntry: false });
  if (there) return there.isFile() && there.size === 0 ? 'is empty' : undefined;
  const link = lstatSync(path, { throwIfNoEntry: false });
  return link?.isSymbolicLink() ? `is a link to ${quote(readlinkSync(path))}, which is not there` : 'is not there';
}

/** Which file it is that has a path now; undefined if none has. */
export function identityOf(path: string): string | undefined {
  const there = statSync(path, { throwIfNoEntry: false });
  return there && `${there.dev}:${there.ino}`;
}
