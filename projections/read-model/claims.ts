import type Database from 'better-sqlite3';
import { uuidOfJobStream } from '../../src/domain/streams.js';
import type { Projection } from '../running/projection.js';

/**
 * One row a job that has not finished and whose last claim recorded a token: the token's SHA-256, and the uuid of the job. The attempt may
 * have ended, and nobody claimed the job since.
 */
export const claims: Projection = {
  name: 'claims',
  version: 1,
  tables: ['claim'],
  schema: `
    CREATE TABLE claim (uuid TEXT PRIMARY KEY, token_digest TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE INDEX claim_token ON claim (token_digest);
  `,
  prepare(db) {
    const insert = db.prepare('INSERT OR REPLACE INTO claim (uuid, token_digest) VALUES (?, ?)');
    const remove = db.prepare('DELETE FROM claim WHERE uuid = ?');
    const ended = (_event: unknown, { stream }: { readonly stream: string }) =>
      void remove.run(uuidOfJobStream(stream));
    return {
      JobStarted({ claimTokenDigest }, { stream }) {
        if (claimTokenDigest !== '') insert.run(uuidOfJobStream(stream), claimTokenDigest);
      },
      JobCompleted: ended,
      JobFailed: ended,
      JobCancelled: ended,
    };
  },
};

/** Reads of the last attempts. */
export function claimQueries(db: Database.Database) {
  const byToken = db.prepare('SELECT uuid FROM claim WHERE token_digest = ? ORDER BY uuid').pluck();
  return {
    /** Uuids of the unfinished jobs whose last attempts were claimed with a token; one, unless two claims with it came at once. */
    uuidsOf: (tokenDigest: string) => byToken.all(tokenDigest) as string[],
  };
}
