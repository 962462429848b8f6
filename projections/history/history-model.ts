import type Database from 'better-sqlite3';
import type { Position } from '../../src/eventstore/port.js';
import type { Trust } from '../../src/eventstore/signing/signing-state.js';
import { type Follower, startFollower } from '../running/follower.js';
import { guarded, openReadConnection, readTrouble } from '../running/read-connection.js';
import { openPastConnection, type PastConnection, type PastFiles, type PastReads, pastReads } from './as-of.js';
import { logSubjectQueries } from './log-subjects.js';
import { logTimeQueries } from './log-times.js';
import { logTreeQueries } from './log-tree.js';

/** What the past is read by. It is kept apart from the read model, so that nothing that it costs delays a decision. */
export type HistoryModel = Follower & {
  readonly times: ReturnType<typeof logTimeQueries>;
  readonly subjects: ReturnType<typeof logSubjectQueries>;
  /** The Merkle tree over the log. */
  readonly tree: ReturnType<typeof logTreeQueries>;
  /** Reads of the read model as it was at a position, to which both the history and the read model must have come. */
  at(position: Position): PastReads;
  /** To be called when the read model was made anew. */
  readModelRemade(): void;
};

/**
 * Starts the thread that keeps the history of the store at `storeUrl`, and opens it for reading beside the read model, which must
 * be open when the past is read first. With `trust` signatures of the log are verified.
 * @throws StoreUnavailable if another server has the file; MemoirError UNAVAILABLE if the file or the log cannot be opened
 */
export async function openHistoryModel(storeUrl: string, files: PastFiles, trust?: Trust): Promise<HistoryModel> {
  const follower = await startFollower({ storeUrl, path: files.history, keeps: 'history', trust }, 'the history');
  const trouble = readTrouble(follower.name, follower.damaged);
  // Of two files, so that it does not tell which is damaged; the checks of each do.
  const pastTrouble = readTrouble('the past', () => undefined);
  const connection = openReadConnection(files.history, queriesOf, trouble);
  let past: { readonly connection: PastConnection; readonly at: (position: Position) => PastReads } | undefined;

  function openPast() {
    const opened = openPastConnection(files);
    return { connection: opened, at: pastReads(opened) };
  }

  function closePast(): void {
    past?.connection.db.close();
    past = undefined;
  }

  function readsAt(position: Position): PastReads {
    past ??= openPast();
    return past.at(position);
  }

  follower.onRemade(connection.renew);
  follower.onRemade(closePast);
  return {
    ...follower,
    ...connection.reads,
    at(position) {
      try {
        const subjects = Object.entries(readsAt(position)) as [keyof PastReads, object][];
        const reads = subjects.map(([subject, names]) => [
          subject,
          guarded(names, () => readsAt(position)[subject], pastTrouble),
        ]);
        return Object.fromEntries(reads) as PastReads;
      } catch (error) {
        throw pastTrouble(error);
      }
    },
    readModelRemade: closePast,
    async close() {
      await follower.close();
      closePast();
      connection.close();
    },
  };
}

function queriesOf(db: Database.Database) {
  return { times: logTimeQueries(db), subjects: logSubjectQueries(db), tree: logTreeQueries(db) };
}
