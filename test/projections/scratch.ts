import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { allProjections } from '../../projections/all.js';
import { dumpReadModel, openReadModelFile } from '../../projections/running/database.js';
import type { Projection } from '../../projections/running/projection.js';
import { runProjections } from '../../projections/running/runner.js';
import type { EventLog, EventStore } from '../../src/eventstore/port.js';
import { openSqliteStore } from '../../src/eventstore/sqlite/store.js';

/** A log and room for read models. */
export type Scratch = {
  readonly directory: string;
  readonly logPath: string;
  readonly store: EventStore;
  /** Path of a file in the directory. */
  path(name: string): string;
  close(): Promise<void>;
};

/** A fresh log in a temporary directory. */
export async function openScratch(now: () => number = Date.now): Promise<Scratch> {
  const directory = await mkdtemp(join(tmpdir(), 'memoir-projections-'));
  const logPath = join(directory, 'events.sqlite');
  const store = await openSqliteStore(logPath, now);
  return {
    directory,
    logPath,
    store,
    path: (name) => join(directory, name),
    async close() {
      await store.close();
      await rm(directory, { recursive: true });
    },
  };
}

/** How a read model is brought up to the end of the log. */
export type CatchUpOptions = {
  readonly projections?: readonly Projection[];
  readonly batchSize?: number;
  /** Stops after so many batches, wherever that is. */
  readonly batches?: number;
};

/** Brings the read model at `path` up to the end of the log, or some batches further, and gives its rows. */
export async function catchUp(log: EventLog, path: string, options: CatchUpOptions = {}): Promise<string[]> {
  const { projections = allProjections, batches = Number.POSITIVE_INFINITY, batchSize = 1_000 } = options;
  const db = openReadModelFile(path, projections);
  try {
    const stop = new AbortController();
    let done = 0;
    await runProjections(log, db, projections, {
      batchSize,
      signal: stop.signal,
      onApplied({ live }) {
        done++;
        if (live || done >= batches) stop.abort();
      },
    });
    return [...dumpReadModel(db, projections)];
  } finally {
    db.close();
  }
}
