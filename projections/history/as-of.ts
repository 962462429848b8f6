import { join } from 'node:path';
import Database from 'better-sqlite3';
import type { Position } from '../../src/eventstore/port.js';
import { contentQueries } from '../read-model/content/content.js';
import { giverQueries } from '../read-model/content/givers.js';
import { exclusionQueries } from '../read-model/exclusions.js';
import { imageQueries } from '../read-model/images.js';
import { jobQueries } from '../read-model/jobs.js';
import { lineageQueries } from '../read-model/lineage.js';
import { reuseQueries } from '../read-model/reuse-index.js';
import { asOfViews } from './as-of-views.js';

/** Files that the past is read from. */
export type PastFiles = { readonly readModel: string; readonly history: string };

/** The files in the data directory of a server. */
export function pastFiles(directory: string): PastFiles {
  return { readModel: join(directory, 'read-model.sqlite'), history: join(directory, 'history.sqlite') };
}

/** A connection whose tables are views of what they were at a position of the log. */
export type PastConnection = {
  readonly db: Database.Database;
  /** Sets the position for everything that is read from now on. The projections must have come that far. */
  moveTo(position: Position): void;
};

/** Opens the files of projections, which others may be writing, for reading the past. */
export function openPastConnection({ readModel, history }: PastFiles): PastConnection {
  const db = new Database(readModel, { readonly: true });
  try {
    db.pragma('cache_size = -65536');
    db.pragma('temp_store = MEMORY');
    db.prepare('ATTACH ? AS history').run(history);
    db.exec(asOfViews);
    const move = db.prepare('UPDATE temp.moment SET position = ?');
    let current: Position | undefined;
    return {
      db,
      moveTo(position) {
        if (position !== current) move.run(position);
        current = position;
      },
    };
  } catch (error) {
    db.close();
    throw error;
  }
}

/** Reads of the read model as it was at one position. */
export type PastReads = {
  readonly jobs: ReturnType<typeof jobQueries>;
  readonly candidates: ReturnType<typeof reuseQueries>;
  readonly lineage: ReturnType<typeof lineageQueries>;
  readonly exclusions: ReturnType<typeof exclusionQueries>;
  readonly images: ReturnType<typeof imageQueries>;
  readonly content: ReturnType<typeof contentQueries>;
  readonly givers: ReturnType<typeof giverQueries>;
};

/** Gives the reads of the past at any position. They share their statements, so that another position costs next to nothing. */
export function pastReads({ db, moveTo }: PastConnection): (position: Position) => PastReads {
  const all: PastReads = {
    jobs: jobQueries(db),
    candidates: reuseQueries(db),
    lineage: lineageQueries(db),
    exclusions: exclusionQueries(db),
    images: imageQueries(db),
    content: contentQueries(db),
    givers: giverQueries(db),
  };
  return (position) => {
    const pinned = <T extends object>(reads: T): T => {
      const entries = Object.entries(reads as Record<string, (...args: unknown[]) => unknown>);
      const moved = entries.map(([name, read]) => {
        const movedRead = (...args: unknown[]) => {
          moveTo(position);
          return read(...args);
        };
        return [name, movedRead];
      });
      return Object.fromEntries(moved) as T;
    };
    return {
      jobs: pinned(all.jobs),
      candidates: pinned(all.candidates),
      lineage: pinned(all.lineage),
      exclusions: pinned(all.exclusions),
      images: pinned(all.images),
      content: pinned(all.content),
      givers: pinned(all.givers),
    };
  };
}
