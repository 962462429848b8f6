import { generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { logTree } from '../../projections/history/log-tree.js';
import { checkpointText } from '../../src/domain/log-tree/checkpoint.js';
import { growingTree } from '../../src/domain/log-tree/growing-tree.js';
import { leafHash } from '../../src/domain/log-tree/leaf.js';
import { formatNote } from '../../src/domain/log-tree/signed-note.js';
import { bytesOfKey, verifierKey } from '../../src/domain/log-tree/verifier-key.js';
import { checkpointStream } from '../../src/domain/streams.js';
import type { EventStore, RecordedEvent } from '../../src/eventstore/port.js';
import { checksum } from '../../src/eventstore/sqlite/checksum.js';
import { openSqliteStore } from '../../src/eventstore/sqlite/store.js';
import type { HeldCheckpoint } from '../../src/history/verify/check-checkpoints.js';
import { openKeptTree } from '../../src/history/verify/kept-tree.js';
import { sqliteSource } from '../../src/history/verify/log-source.js';
import { type VerifiedLog, verifyLog } from '../../src/history/verify/verify-log.js';
import { collect } from '../contract/events.js';
import { catchUp } from '../projections/scratch.js';

const pair = generateKeyPairSync('ed25519');

/** The key of every checkpoint here. */
export const testKey = verifierKey('test/log', bytesOfKey(pair.publicKey));

/** A checkpoint signed with it. */
export function signedBy(size: number, root: Uint8Array): string {
  const text = checkpointText({ origin: testKey.name, size, root });
  return formatNote(text, testKey, sign(null, Buffer.from(text), pair.privateKey));
}

/** Raw rows of a log. */
export type RawLog = {
  run(sql: string, ...values: unknown[]): void;
  /** Makes the checksums those of the rows again, as somebody would who knows how. */
  fixChecksums(): void;
};

/** A real log with its kept tree and checkpoints, and copies of it to which something was done. */
export type Tampered = {
  readonly events: readonly RecordedEvent[];
  readonly held: readonly HeldCheckpoint[];
  readonly directory: string;
  readonly log: string;
  readonly history: string;
  /** Verifies a copy of the log after `tamper`; with the kept tree unless told otherwise. */
  verify(tamper: (log: RawLog) => void, options?: VerifyOptions): Promise<VerifiedLog>;
  dispose(): void;
};

/** How a copy is verified. */
export type VerifyOptions = {
  /** `fresh`: made anew from the log after it was tampered with. */
  readonly kept?: 'as it was' | 'none' | 'fresh';
  readonly held?: readonly HeldCheckpoint[];
  /** Whether SQLite checks the file too. */
  readonly structure?: boolean;
  /** Done to the kept tree. */
  readonly spoilKept?: (db: Database.Database) => void;
};

/**
 * A log of so many events, of which some record checkpoints; others are held, each of so many events as `heldSizes` says.
 */
export async function tamperedLog(
  count: number,
  heldSizes: readonly number[],
  recordedEvery: number,
): Promise<Tampered> {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-tampered-'));
  const log = join(directory, 'events.sqlite');
  const history = join(directory, 'history.sqlite');
  const store = await openSqliteStore(log, () => 1_700_000_000_000);
  const tree = growingTree();
  const held: HeldCheckpoint[] = [];
  let position = 0;
  for (let n = 0; n < count; n++) {
    position = await appendOne(
      store,
      n,
      n % recordedEvery === recordedEvery - 1 ? signedBy(n, tree.root()) : undefined,
    );
    const recorded = await store.eventAt(position);
    tree.add(leafHash(recorded as RecordedEvent));
    const size = tree.size();
    if (heldSizes.includes(size)) {
      held.push({ source: `held-${size}`, checkpoint: { origin: testKey.name, size, root: tree.root() } });
    }
  }
  const events = await collect(store.readAll());
  await catchUp(store, history, { projections: [logTree] });
  await store.close();

  async function verify(tamper: (log: RawLog) => void, options: VerifyOptions = {}): Promise<VerifiedLog> {
    const copy = join(directory, `copy-${randomUUID()}.sqlite`);
    const keptCopy = `${copy}.history`;
    copyFileSync(log, copy);
    copyFileSync(history, keptCopy);
    const db = new Database(copy);
    tamper({ run: (sql, ...values) => void db.prepare(sql).run(...values), fixChecksums: () => fixChecksums(db) });
    db.close();
    if (options.spoilKept) {
      const keptDb = new Database(keptCopy);
      options.spoilKept(keptDb);
      keptDb.close();
    }
    if (options.kept === 'fresh') {
      rmSync(keptCopy);
      const again = await openSqliteStore(copy, () => 0);
      await catchUp(again, keptCopy, { projections: [logTree] });
      await again.close();
    }
    const kept = options.kept === 'none' ? undefined : openKeptTree(keptCopy);
    const source = sqliteSource(copy, { threads: 1, structure: options.structure ?? false });
    try {
      return await verifyLog(source, { held: options.held ?? held, keys: [testKey], kept });
    } finally {
      kept?.close();
      await source.close();
      for (const file of [copy, keptCopy]) for (const end of ['', '-wal', '-shm']) rmSync(file + end, { force: true });
    }
  }

  return { events, held, directory, log, history, verify, dispose: () => rmSync(directory, { recursive: true }) };
}

async function appendOne(store: EventStore, n: number, note: string | undefined): Promise<number> {
  const id = `00000000-0000-4000-8000-${n.toString(16).padStart(12, '0')}`;
  const metadata = JSON.stringify({ principal: `user-${n % 7}`, requestId: `r${n}`, serverVersion: '0.1.0' });
  const event =
    note === undefined
      ? { id, type: 'JobProgressed', data: JSON.stringify({ n, text: 'ünïcode "quoted"\u2028' }), metadata }
      : { id, type: 'CheckpointSigned', data: JSON.stringify({ note, key: testKey.text }), metadata };
  const { position } = await store.append(note === undefined ? `job-${n % 13}` : checkpointStream, 'any', [event]);
  return position;
}

function fixChecksums(db: Database.Database): void {
  const update = db.prepare('UPDATE event SET checksum = ? WHERE position = ?');
  const rows = db.prepare('SELECT *, recorded_at AS recordedAt FROM event').all() as (RecordedEvent & {
    checksum: number;
  })[];
  db.transaction(() => {
    for (const row of rows) if (checksum(row) !== row.checksum) update.run(checksum(row), row.position);
  })();
}
