import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { allProjections } from '../../projections/all.js';
import { dumpReadModel, openReadModelFile } from '../../projections/running/database.js';
import { runProjections } from '../../projections/running/runner.js';
import type { ServerConfig } from '../../src/config.js';
import type { RecordedEvent } from '../../src/eventstore/port.js';
import { openSqliteLog } from '../../src/eventstore/sqlite/store.js';
import { collect } from '../contract/events.js';

type Where = Pick<ServerConfig, 'data_dir'>;

/** All events of a server's log, whether it runs or not. */
export async function eventsOf({ data_dir }: Where): Promise<RecordedEvent[]> {
  const log = openSqliteLog(join(data_dir, 'events.sqlite'));
  try {
    return await collect(log.readAll());
  } finally {
    await log.close();
  }
}

/** The rows of a server's read model, as lines. */
export function liveRows({ data_dir }: Where): string[] {
  const db = new Database(join(data_dir, 'read-model.sqlite'), { readonly: true });
  try {
    return [...dumpReadModel(db, allProjections)];
  } finally {
    db.close();
  }
}

/** The rows that a read model has which is built from the beginning of a server's log, as lines. */
export async function rebuiltRows({ data_dir }: Where): Promise<string[]> {
  const log = openSqliteLog(join(data_dir, 'events.sqlite'));
  const directory = mkdtempSync(join(tmpdir(), 'memoir-rebuild-'));
  const db = openReadModelFile(join(directory, 'read-model.sqlite'), allProjections);
  const done = new AbortController();
  try {
    await runProjections(log, db, allProjections, {
      signal: done.signal,
      onApplied: ({ live }) => live && done.abort(),
    });
    return [...dumpReadModel(db, allProjections)];
  } finally {
    db.close();
    await log.close();
    rmSync(directory, { recursive: true });
  }
}
