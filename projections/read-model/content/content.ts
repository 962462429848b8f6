import type Database from 'better-sqlite3';
import { ContentLossReason } from '../../../gen/memoir/events/v1/events_pb.js';
import type { Digest } from '../../../gen/memoir/jobs/v1/digest_pb.js';
import { JobState } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { addressOf, hashOfAddress } from '../../../src/domain/outputs/digest.js';
import type { Loss } from '../../../src/domain/outputs/losses.js';
import type { CandidateFacts } from '../../../src/domain/reuse.js';
import type { Position } from '../../../src/eventstore/port.js';
import { millis } from '../../running/millis.js';
import type { Projection } from '../../running/projection.js';

/**
 * What servers keep, and what of it was lost. `content` has a row for each output or log by its hash: `position` is that of its first ContentStored,
 * `total` the bytes of all its files, `stored_at` when it was stored last, `of_job` whether only jobs left it, `output_v1` the address of the same files as a manifest,
 * `stores` the ids of the stores that one server alone has and that it was stored in, with spaces between, "*" for one that all servers reach. `content_loss` has a row for each
 * ContentLost, and where the content was found or stored again.
 */
export const content: Projection = {
  name: 'content',
  version: 3,
  tables: ['content', 'content_loss'],
  schema: `
    CREATE TABLE content (
      position INTEGER PRIMARY KEY,
      hash TEXT NOT NULL UNIQUE,
      size INTEGER NOT NULL,
      kind INTEGER NOT NULL,
      total INTEGER NOT NULL,
      stored_at INTEGER NOT NULL,
      of_job INTEGER NOT NULL,
      output_v1 TEXT NOT NULL,
      stores TEXT NOT NULL DEFAULT ''
    ) STRICT;
    CREATE INDEX content_output_v1 ON content (output_v1) WHERE output_v1 <> '';
    CREATE TABLE content_loss (
      position INTEGER PRIMARY KEY,
      hash TEXT NOT NULL,
      reason INTEGER NOT NULL,
      missing TEXT NOT NULL,
      path TEXT NOT NULL,
      lost_at INTEGER NOT NULL,
      found INTEGER
    ) STRICT;
    CREATE INDEX content_loss_hash ON content_loss (hash, position);
    CREATE INDEX content_lost ON content_loss (position) WHERE found IS NULL;
    CREATE INDEX content_erased ON content_loss (position) WHERE reason = ${ContentLossReason.ERASED};
  `,
  prepare(db) {
    const insert = db.prepare(
      'INSERT OR IGNORE INTO content (position, hash, size, kind, total, stored_at, of_job, output_v1) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
    );
    const known = db.prepare(
      "UPDATE content SET total = max(total, ?), output_v1 = iif(? = '', output_v1, ?) WHERE hash = ?",
    );
    const again = db.prepare(
      'UPDATE content SET stored_at = max(stored_at, ?), of_job = min(of_job, ?) WHERE hash = ?',
    );
    const storeIn = db.prepare(
      "UPDATE content SET stores = trim(stores || ' ' || @id) WHERE hash = @hash AND instr(' ' || stores || ' ', ' ' || @id || ' ') = 0",
    );
    const lose = db.prepare(
      'INSERT INTO content_loss (position, hash, reason, missing, path, lost_at) VALUES (?, ?, ?, ?, ?, ?)',
    );
    const find = db.prepare(
      `UPDATE content_loss SET found = ? WHERE hash = ? AND found IS NULL AND reason <> ${ContentLossReason.ERASED}`,
    );
    return {
      ContentStored({ digest, job, storedAt, totalBytes, outputV1, storeId }, { position }) {
        if (!digest) return;
        const { hash, sizeBytes, kind } = digest;
        const at = millis(storedAt);
        insert.run(position, hash, Number(sizeBytes), kind, Number(totalBytes), at, Number(job !== ''), outputV1);
        again.run(at, Number(job !== ''), hash);
        storeIn.run({ hash, id: storeId || everywhere });
        known.run(Number(totalBytes), outputV1, outputV1, hash);
        find.run(position, hash);
      },
      ContentLost({ digest, reason, missing, path, lostAt }, { position }) {
        if (!digest) return;
        const text = missing ? `${missing.hash}/${missing.sizeBytes}` : '';
        lose.run(position, digest.hash, reason, text, path, millis(lostAt));
      },
      ContentFound({ digest }, { position }) {
        if (digest) find.run(position, digest.hash);
      },
    };
  },
};

/** Stands for a store that all servers of a log reach. */
const everywhere = '*';

/** Whether content was stored in a store that a server has, by the ids of that; else others alone may have it. */
export function isStoredIn({ stores }: Pick<ContentRow, 'stores'>, ids: readonly string[]): boolean {
  return stores.split(' ').some((id) => id === everywhere || ids.includes(id));
}

/** A loss as it was recorded. */
export type LossRow = {
  readonly position: Position;
  readonly hash: string;
  readonly reason: ContentLossReason;
  readonly missing: string;
  readonly path: string;
  readonly lost_at: number;
  readonly found: Position | null;
};

/** What is known of an output or log that servers keep. */
export type ContentRow = {
  readonly position: Position;
  readonly hash: string;
  readonly size: number;
  readonly kind: Digest['kind'];
  readonly total: number;
  /** When it was stored last, in milliseconds since 1970-01-01T00:00Z. */
  readonly stored_at: number;
  /** 1 if only jobs left it. */
  readonly of_job: number;
  readonly output_v1: string;
  readonly stores: string;
};

const reasons: Readonly<Record<ContentLossReason, string>> = {
  [ContentLossReason.UNSPECIFIED]: 'is lost',
  [ContentLossReason.EVICTED]: 'was evicted',
  [ContentLossReason.NOT_FOUND]: 'is not there',
  [ContentLossReason.CORRUPT]: 'had other bytes than its own',
  [ContentLossReason.ERASED]: 'was erased',
};

/** What is lost, for people. */
export function lossText(
  what: 'output' | 'log',
  { hash, reason, missing, path, lost_at }: Omit<LossRow, 'position' | 'found'>,
): string {
  const of =
    missing === '' || missing.startsWith(hash) ? '' : `: ${path === '' ? '' : `${JSON.stringify(path)}, `}${missing},`;
  return `its ${what} ${addressOf({ hash })} is lost since ${new Date(lost_at).toISOString()}${of} ${of === '' ? 'and ' : ''}${reasons[reason] ?? reasons[0]}`;
}

/** Tells of the losses of candidates, oldest first. */
export type LossesOf = (candidate: Pick<CandidateFacts, 'state' | 'output' | 'log'>) => readonly Loss[];

/** Looks losses up, through a connection's own way to prepare statements. */
export function lossReader(prepare: (sql: string) => Database.Statement): { any(): boolean; readonly of: LossesOf } {
  const any = prepare('SELECT 1 FROM content_loss LIMIT 1').pluck();
  const ofHash = prepare('SELECT * FROM content_loss WHERE hash = ? ORDER BY position');
  const byManifest = prepare("SELECT hash FROM content WHERE output_v1 = ? AND output_v1 <> ''").pluck();
  const losses = (address: string, what: 'output' | 'log'): Loss[] => {
    const hash = hashOfAddress(address);
    if (hash === undefined) return [];
    const rows = ofHash.all(byManifest.get(address) ?? hash) as LossRow[];
    return rows.map((row) => ({
      from: row.position,
      ...(row.found !== null && { until: row.found }),
      detail: lossText(what, row),
    }));
  };
  return {
    any: () => any.get() !== undefined,
    of({ state, output, log }) {
      if (state !== JobState.COMPLETE) return [];
      return [...losses(output, 'output'), ...losses(log, 'log')].sort((a, b) => a.from - b.from);
    },
  };
}

/** Reads of what servers keep. */
export function contentQueries(db: Database.Database) {
  const byHash = db.prepare('SELECT * FROM content WHERE hash = ?');
  const byManifest = db.prepare("SELECT * FROM content WHERE output_v1 = ? AND output_v1 <> ''");
  const open = db.prepare('SELECT reason FROM content_loss WHERE hash = ? AND found IS NULL').pluck();
  const page = db.prepare('SELECT * FROM content WHERE position > ? ORDER BY position LIMIT ?');
  const isErased = db
    .prepare(
      `SELECT 1 FROM content_loss WHERE hash = ? AND reason = ${ContentLossReason.ERASED} AND missing LIKE hash || '/%' LIMIT 1`,
    )
    .pluck();
  const anyErased = db.prepare(`SELECT 1 FROM content_loss WHERE reason = ${ContentLossReason.ERASED} LIMIT 1`).pluck();
  const putter = db.prepare("SELECT min(owner) FROM content_giver WHERE hash = ? AND repository = ''").pluck();
  const count = db.prepare('SELECT count(DISTINCT hash) FROM content_loss WHERE found IS NULL').pluck();
  const losses = lossReader((sql) => db.prepare(sql));
  const lossesOfHash = db.prepare('SELECT * FROM content_loss WHERE hash = ? ORDER BY position');
  return {
    /** What is known of content, by its hash. */
    get: (hash: string) => byHash.get(hash) as ContentRow | undefined,
    /** The same by an address: its own, or that of the same files as a manifest. */
    ofAddress(address: string): ContentRow | undefined {
      const hash = hashOfAddress(address);
      if (hash === undefined) return undefined;
      return (byHash.get(hash) ?? byManifest.get(address)) as ContentRow | undefined;
    },
    /** Why content is lost now; empty if it is not. */
    lostBy: (hash: string) => open.all(hash) as ContentLossReason[],
    /** Up to `limit` outputs and logs that were first stored after a position, in that order. */
    stored: (after: Position, limit: number) => page.all(after, limit) as ContentRow[],
    /** A principal that put content itself; undefined if none did. */
    putBy: (hash: string) => (putter.get(Buffer.from(hash, 'hex')) as string | null) ?? undefined,
    /** Whether something was erased itself, and not only lost by that. */
    isErased: (hash: string) => isErased.get(hash) !== undefined,
    /** Whether anything was erased at all. */
    anyErased: () => anyErased.get() !== undefined,
    /** How many outputs and logs are lost now. */
    lostCount: () => count.get() as number,
    /** Losses of a job's output and log. */
    losses: losses.of,
    /** Losses of an output or log by its address, as they were recorded, the first first. */
    recordedLosses(address: string): readonly LossRow[] {
      if (!losses.any()) return [];
      const hash = hashOfAddress(address);
      if (hash === undefined) return [];
      const row = (byHash.get(hash) ?? byManifest.get(address)) as ContentRow | undefined;
      return lossesOfHash.all(row?.hash ?? hash) as LossRow[];
    },
  };
}
