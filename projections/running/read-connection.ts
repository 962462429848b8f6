import Database from 'better-sqlite3';
import { MemoirError } from '../../src/domain/errors.js';
import { isDamage } from './database.js';

/** Reads of a file, by name. */
type Reads = object;

/** Reads by subject. */
type ReadsBySubject = Readonly<Record<string, Reads>>;

type Read = (...given: unknown[]) => unknown;

/** A connection to a file of projections that is opened again after the file was made anew. */
export type ReadConnection<T> = {
  readonly reads: T;
  /** Closes it; the next read opens it again. */
  renew(): void;
  close(): void;
};

/** Makes an error of a read one for the caller, and tells `onDamage` where the file is to blame. `name` is what messages call it. */
export type Trouble = (error: unknown) => unknown;

/**
 * What goes wrong in a file of projections is UNAVAILABLE, since it is made anew then, and `onDamage` is told why. `name` is what
 * messages call it, such as "the read model".
 */
export function readTrouble(name: string, onDamage: (why: string) => void): Trouble {
  return (error) => {
    const closed = error instanceof TypeError && error.message.includes('connection is not open');
    if (!closed && !(error instanceof Database.SqliteError)) return error;
    if (isDamage(error)) onDamage((error as Error).message);
    const message = `${name} cannot be read now: ${(error as Error).message}; if it is damaged, it is made anew; try again`;
    return new MemoirError('UNAVAILABLE', 'READ_MODEL_UNAVAILABLE', message, { cause: error });
  };
}

/** Whether an error says that a file of projections cannot be read now: it is not the fault of who reads, and passes. */
export function isUnreadable(error: unknown): boolean {
  return error instanceof MemoirError && /^READ_MODEL_(UNAVAILABLE|CATCHING_UP)$/.test(error.reason);
}

/** Does what nobody waits for who could be told that a file cannot be read now; everybody is told when it can again. */
export function ifReadable(work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!isUnreadable(error)) throw error;
  }
}

/** The same reads, whose errors become what `trouble` makes of them; `current` gives those of the connection that is open. */
export function guarded<T extends Reads>(names: T, current: () => T, trouble: Trouble): T {
  const entries = Object.keys(names).map((name): [string, Read] => [
    name,
    (...given) => {
      try {
        return (current() as Record<string, Read>)[name]?.(...given);
      } catch (error) {
        throw trouble(error);
      }
    },
  ]);
  return Object.fromEntries(entries) as T;
}

/**
 * Opens a connection for reading the file at `path`, and what `make` reads by it. Once it was renewed, reads are UNAVAILABLE until `ready`:
 * a call that began before must not be answered from half of a file.
 */
export function openReadConnection<T extends ReadsBySubject>(
  path: string,
  make: (db: Database.Database) => T,
  trouble: Trouble,
  ready: () => boolean = () => true,
): ReadConnection<T> {
  let renewed = false;
  let open: { readonly db: Database.Database; readonly reads: T } | undefined;

  function opened(): T {
    if (renewed) {
      if (!ready()) {
        throw new MemoirError('UNAVAILABLE', 'READ_MODEL_CATCHING_UP', 'the read model is being made anew; try again');
      }
      renewed = false;
    }
    if (!open) {
      const db = new Database(path, { readonly: true, fileMustExist: true });
      db.pragma('cache_size = -65536');
      open = { db, reads: make(db) };
    }
    return open.reads;
  }

  function close(): void {
    open?.db.close();
    open = undefined;
  }

  const subjects = Object.entries(opened()).map(([subject, reads]) => [
    subject,
    guarded(reads, () => opened()[subject] as typeof reads, trouble),
  ]);
  return {
    reads: Object.fromEntries(subjects) as T,
    renew() {
      close();
      renewed = true;
    },
    close,
  };
}
