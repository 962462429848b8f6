import Database from 'better-sqlite3';
import type { Position } from '../../src/eventstore/port.js';
import { type Follower, startFollower } from '../running/follower.js';
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
};

/**
 * Starts the thread that keeps the history of the store at `storeUrl`, and opens it for reading beside the read model, which must
 * be open when the past is read first.
 * @throws StoreUnavailable if another server has the file; MemoirError UNAVAILABLE if the file or the log cannot be opened
 */
export async function openHistoryModel(storeUrl: string, files: PastFiles): Promise<HistoryModel> {
  const follower = await startFollower({ storeUrl, path: files.history, keeps: 'history' }, 'the history');
  const db = new Database(files.history, { readonly: true });
  let past: { readonly connection: PastConnection; readonly at: (position: Position) => PastReads } | undefined;

  function openPast() {
    const connection = openPastConnection(files);
    return { connection, at: pastReads(connection) };
  }

  return {
    ...follower,
    times: logTimeQueries(db),
    subjects: logSubjectQueries(db),
    tree: logTreeQueries(db),
    at(position) {
      past ??= openPast();
      return past.at(position);
    },
    async close() {
      await follower.close();
      past?.connection.db.close();
      db.close();
    },
  };
}
