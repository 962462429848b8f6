import { storeSettings } from '../../config/settings.js';
import { invalid, MemoirError } from '../../domain/errors.js';
import { storeName, storeUrlOf } from '../../eventstore/open-store.js';
import { LogRefused, StoreRefused, StoreUnavailable, StoreUnreadable } from '../../eventstore/port.js';
import { type StoreOptions, sourcesOf } from './store-options.js';

/** The log that a command works on. */
export type LogStore = {
  readonly url: string;
  /** The server's data directory, if the settings name one. */
  readonly dataDirectory: string | undefined;
};

/** The store that the settings name. @throws MemoirError INVALID_ARGUMENT if they name none, or are wrong */
export async function logStore(options: StoreOptions): Promise<LogStore> {
  const { store, data_dir } = await storeSettings(sourcesOf(options));
  if (store === undefined && data_dir === undefined) {
    throw invalid(
      'store',
      'BAD_CONFIG',
      'no log is given: --data-dir or --store, their variables, or a file of settings',
    );
  }
  const url = storeUrlOf({ store, data_dir: data_dir ?? '' });
  try {
    storeName(url);
  } catch (error) {
    throw invalid('store', 'BAD_CONFIG', (error as Error).message);
  }
  return { url, dataDirectory: data_dir };
}

/**
 * The outcome of work on a store, whose errors are made those of the command.
 * @throws MemoirError UNAVAILABLE if the store cannot be used now, INVALID_ARGUMENT if it is none that can be used
 */
export async function meant<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof StoreRefused) {
      throw new MemoirError('INVALID_ARGUMENT', 'STORE_REFUSED', error.message, { cause: error });
    }
    if (error instanceof StoreUnavailable) {
      throw new MemoirError('UNAVAILABLE', 'STORE_UNAVAILABLE', error.message, { cause: error });
    }
    if (error instanceof StoreUnreadable) {
      throw new MemoirError('INVALID_ARGUMENT', 'STORE_UNREADABLE', error.message, { cause: error });
    }
    if (error instanceof LogRefused) throw refusedLog(error);
    throw error;
  }
}

/** The error of a command on a log that this version must not go on with. */
export function refusedLog(error: LogRefused): MemoirError {
  return new MemoirError('INVALID_ARGUMENT', error.reason, error.message, { cause: error });
}
