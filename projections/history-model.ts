import Database from 'better-sqlite3';
import { type Follower, startFollower } from './follower.js';
import { logSubjectQueries } from './log-subjects.js';
import { logTimeQueries } from './log-times.js';
import { logTreeQueries } from './log-tree.js';

/** What the past is read by. It is kept apart from the read model, so that nothing that it costs delays a decision. */
export type HistoryModel = Follower & {
  readonly times: ReturnType<typeof logTimeQueries>;
  readonly subjects: ReturnType<typeof logSubjectQueries>;
  /** The Merkle tree over the log. */
  readonly tree: ReturnType<typeof logTreeQueries>;
};

/**
 * Starts the thread that keeps the history at `path` of the store at `storeUrl`, and opens it for reading.
 * @throws StoreUnavailable if another server has the file; MemoirError UNAVAILABLE if the file or the log cannot be opened
 */
export async function openHistoryModel(storeUrl: string, path: string): Promise<HistoryModel> {
  const follower = await startFollower({ storeUrl, path, keeps: 'history' }, 'the history');
  const db = new Database(path, { readonly: true });
  return {
    ...follower,
    times: logTimeQueries(db),
    subjects: logSubjectQueries(db),
    tree: logTreeQueries(db),
    async close() {
      await follower.close();
      db.close();
    },
  };
}
