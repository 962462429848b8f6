import type Database from 'better-sqlite3';
import type { ContentKind, Digest } from '../../../gen/memoir/jobs/v1/digest_pb.js';
import type { Position } from '../../../src/eventstore/port.js';
import type { Projection } from '../../running/projection.js';

/**
 * Who may use content that servers keep as an input: for each content the owners and repositories of the jobs that gave it, whose readers may, with
 * the last such job, and the principals that put it, with an empty repository. `since` is the position of the event by which they gave it first, `job` that of the job's JobRequested.
 */
export const contentGivers: Projection = {
  name: 'content givers',
  version: 2,
  tables: ['content_giver'],
  schema: `
    CREATE TABLE content_giver (
      hash BLOB NOT NULL,
      owner TEXT NOT NULL,
      repository TEXT NOT NULL,
      size INTEGER NOT NULL,
      kind INTEGER NOT NULL,
      since INTEGER NOT NULL,
      job INTEGER,
      PRIMARY KEY (hash, owner, repository)
    ) STRICT, WITHOUT ROWID;
  `,
  prepare(db, positionOf) {
    const given = db.prepare(`
      INSERT INTO content_giver (hash, owner, repository, size, kind, since, job)
      SELECT ?, owner, repository, ?, ?, ?, position FROM job WHERE position = ?
      ON CONFLICT DO UPDATE SET job = excluded.job`);
    const put = db.prepare(
      `INSERT OR IGNORE INTO content_giver (hash, owner, repository, size, kind, since, job) VALUES (?, ?, '', ?, ?, ?, NULL)`,
    );
    const gave = ({ stream, position }: RecordedAt, ...digests: (Digest | undefined)[]) => {
      for (const digest of digests) {
        if (!digest) continue;
        given.run(Buffer.from(digest.hash, 'hex'), Number(digest.sizeBytes), digest.kind, position, positionOf(stream));
      }
    };
    return {
      ContentStored({ digest, principal, job }, { position }) {
        if (!digest || job !== '') return;
        put.run(Buffer.from(digest.hash, 'hex'), principal, Number(digest.sizeBytes), digest.kind, position);
      },
      JobAttemptEnded: ({ outputDigest, logDigest }, recorded) => gave(recorded, outputDigest, logDigest),
      JobCompleted: ({ outputDigest, logDigest }, recorded) => gave(recorded, outputDigest, logDigest),
      JobFailed: ({ outputDigest, logDigest }, recorded) => gave(recorded, outputDigest, logDigest),
    };
  },
};

type RecordedAt = { readonly stream: string; readonly position: Position };

/** Who may use some content. */
export type GiverRow = {
  readonly owner: string;
  /** Empty for who put it. */
  readonly repository: string;
  readonly size: number;
  readonly kind: ContentKind;
  /** Uuid of a job that gave it; null for none that was not deleted. */
  readonly job: string | null;
};

/** Reads of who gave content. */
export function giverQueries(db: Database.Database) {
  const of = db.prepare(`
    SELECT g.owner, g.repository, g.size, g.kind, j.uuid AS job FROM content_giver g
    LEFT JOIN job j ON j.position = g.job AND j.deleted = 0 WHERE g.hash = ?`);
  const put = db.prepare(`SELECT size, kind FROM content_giver WHERE hash = ? AND owner = ? AND repository = ''`);
  return {
    /** Everybody who gave some content. */
    of: (hash: string) => of.all(Buffer.from(hash, 'hex')) as GiverRow[],
    /** What a principal put itself; undefined if it did not. */
    put: (hash: string, principal: string) =>
      put.get(Buffer.from(hash, 'hex'), principal) as Pick<GiverRow, 'size' | 'kind'> | undefined,
  };
}
