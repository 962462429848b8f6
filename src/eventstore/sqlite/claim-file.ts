import { closeSync, mkdirSync, openSync, realpathSync } from 'node:fs';
import { dirname } from 'node:path';
import { quote } from '../../domain/errors.js';
import { StoreUnavailable } from '../port.js';

/**
 * The file itself, made if there is none, whatever links lead to it: its lock stands beside it, and two paths to one log must
 * lead to one lock.
 * @throws StoreUnavailable naming the path if there can be no file
 */
export function claimFile(path: string): string {
  try {
    mkdirSync(dirname(path), { recursive: true });
    closeSync(openSync(path, 'a'));
    return realpathSync(path);
  } catch (error) {
    throw new StoreUnavailable(`the event log ${quote(path)} cannot be opened: ${(error as Error).message}`, error);
  }
}
