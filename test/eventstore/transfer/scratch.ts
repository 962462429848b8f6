import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import Database from 'better-sqlite3';
import { writeHistory } from '../../../bench/history.js';
import type { LogImporter } from '../../../src/eventstore/importer.js';
import type { EventLog, RecordedEvent } from '../../../src/eventstore/port.js';
import { openSqliteExport } from '../../../src/eventstore/sqlite/store.js';
import { type Imported, importLog } from '../../../src/eventstore/transfer/import-log.js';
import { openExport } from '../../../src/eventstore/transfer/open-export.js';
import { readExport } from '../../../src/eventstore/transfer/read-export.js';
import { exportOf } from '../../../src/eventstore/transfer/write-export.js';
import { collect } from '../../contract/events.js';

/** A directory that goes with the test; gives paths in it. */
export function scratch(t: Pick<ExecutionContext, 'teardown'>): (name: string) => string {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-transfer-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return (name) => join(directory, name);
}

/** A log of that many events of a busy server, as it is read. */
export async function historyOf(path: string, events: number): Promise<RecordedEvent[]> {
  await writeHistory(path, events);
  return eventsIn(path);
}

/** All events of an embedded log. */
export async function eventsIn(path: string): Promise<RecordedEvent[]> {
  const log = openSqliteExport(path);
  try {
    return await collect(log.readAll());
  } finally {
    await log.close();
  }
}

/** Every column of every row of an embedded log, and what the file says of its format. */
export function rawRows(path: string): { format: unknown; rows: unknown[] } {
  const db = new Database(path, { readonly: true });
  try {
    const rows = db.prepare('SELECT * FROM event ORDER BY position').raw().all();
    return { format: db.pragma('user_version', { simple: true }), rows };
  } finally {
    db.close();
  }
}

/** The file of a log. */
export async function fileOf(log: EventLog, store: 'sqlite' | 'kurrentdb' = 'sqlite'): Promise<Buffer> {
  const header = { store, serverVersion: '0.1.0', exportedAt: '2026-03-01T10:00:00.000Z' };
  return Buffer.concat(await collect(exportOf(log, header)));
}

/** The file of an embedded log. */
export async function fileOfSqlite(path: string): Promise<Buffer> {
  const log = openSqliteExport(path);
  try {
    return await fileOf(log);
  } finally {
    await log.close();
  }
}

/** The bytes in pieces. */
export async function* pieces(bytes: Uint8Array, size = 64 * 1024): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < bytes.length; i += size) yield bytes.subarray(i, i + size);
}

/** The events of a file. */
export async function eventsOfFile(bytes: Uint8Array, size?: number): Promise<RecordedEvent[]> {
  return (await collect(readExport(pieces(bytes, size)))).flatMap(({ events }) => [...events]);
}

/** Imports a file. The importer is closed, whatever comes of it. */
export async function importFile(bytes: Uint8Array, importer: LogImporter, directory: string): Promise<Imported> {
  try {
    const file = await openExport(pieces(bytes), { directory, unique: crypto.randomUUID() });
    try {
      return await importLog(file, importer);
    } finally {
      await file.close();
    }
  } finally {
    await importer.close();
  }
}
