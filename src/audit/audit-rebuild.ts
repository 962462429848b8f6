import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { type ProjectionSet, projectionSets } from '../../projections/all.js';
import { isOfLog, readCheckpoint } from '../../projections/running/database.js';
import type { Projection } from '../../projections/running/projection.js';
import { MemoirError, quote } from '../domain/errors.js';
import type { EventLog, Position } from '../eventstore/port.js';
import { compareTable, type RowDifference } from './compare-tables.js';
import { build } from './past-of-log.js';

/** A difference, and where it is. */
export type RebuildDifference = RowDifference & { readonly file: string; readonly projection: string };

/** What is compared, and who is told. */
export type RebuildAudit = {
  readonly log: EventLog;
  /** Paths of the live files by the names of their projections. */
  readonly files: Readonly<Record<ProjectionSet, string>>;
  /** An empty directory for what is built from the log: about the size of the files. */
  readonly directory: string;
  readonly onDifference: (difference: RebuildDifference) => Promise<void> | void;
  /** Told now and then of how far the audit is. */
  readonly onProgress?: (file: string, stage: 'building' | 'comparing', position: Position, end: Position) => void;
};

/** What was compared in one file. */
export type RebuiltFile = {
  readonly file: string;
  /** Position of the log that the file was at. */
  readonly position: Position;
  readonly rows: number;
  readonly differences: number;
};

/** A file that cannot be compared, since it is not whole: itself a finding. */
export type DamagedFile = { readonly file: string; readonly damage: string };

/**
 * Builds every projection from the log aside, up to where the live files are, and compares all of their rows. The files are read in
 * one transaction each, so that a server may go on. A file that is damaged is told as such, and the others are compared all the same.
 * @throws MemoirError FAILED_PRECONDITION for a file that does not exist, is of another version or log, or is being built; UNAVAILABLE
 * if it cannot be read now
 */
export async function auditRebuild(audit: RebuildAudit): Promise<readonly (RebuiltFile | DamagedFile)[]> {
  const compared: (RebuiltFile | DamagedFile)[] = [];
  for (const [set, path] of Object.entries(audit.files) as [ProjectionSet, string][]) {
    compared.push(await auditFile(audit, path, projectionSets[set]));
  }
  return compared;
}

async function auditFile(
  audit: RebuildAudit,
  path: string,
  projections: readonly Projection[],
): Promise<RebuiltFile | DamagedFile> {
  if (!existsSync(path)) throw unfit(path, 'does not exist; was a server ever started with this data directory?');
  if (statSync(path).size === 0) return { file: path, damage: 'it is empty' };
  const live = openLive(path);
  if (!(live instanceof Database)) return { file: path, damage: live.damage };
  try {
    return await compareFile(audit, path, live, projections);
  } catch (error) {
    const { damage } = damageOf(path, error);
    return { file: path, damage };
  } finally {
    live.close();
  }
}

function openLive(path: string): Database.Database | { readonly damage: string } {
  let live: Database.Database | undefined;
  try {
    live = new Database(path, { readonly: true });
    const [tables] = live.prepare("SELECT count(*) FROM sqlite_schema WHERE name = 'projection'").raw().get() as [
      number,
    ];
    if (tables === 1) return live;
    live.close();
    return { damage: 'it has no table that says what is in it' };
  } catch (error) {
    live?.close();
    return damageOf(path, error);
  }
}

/** What an error of SQLite says of the damage of a file that is read. @throws the error if it says something else */
function damageOf(path: string, error: unknown): { readonly damage: string } {
  if (!(error instanceof Database.SqliteError)) throw error;
  // A table that should be there and is not, or has other columns, is damage too: its version was right.
  if (/^SQLITE_(CORRUPT|NOTADB|ERROR|IOERR_SHORT_READ)/.test(error.code)) return { damage: error.message };
  throw new MemoirError('UNAVAILABLE', 'FILE_UNREADABLE', `${quote(path)} cannot be read now: ${error.message}`, {
    cause: error,
  });
}

async function compareFile(
  { log, directory, onDifference, onProgress }: RebuildAudit,
  path: string,
  live: Database.Database,
  projections: readonly Projection[],
): Promise<RebuiltFile> {
  const aside = join(directory, `${compactName(path)}.rebuilt`);
  // Most of it before the transaction begins, so that the server's log of changes does not grow meanwhile.
  const near = positionOf(live, path, projections);
  await build(log, near, aside, projections, (position) => onProgress?.(path, 'building', position, near));
  live.exec('BEGIN');
  const position = positionOf(live, path, projections);
  for (const projection of projections) {
    if (await isOfLog(log, readCheckpoint(live, projection))) continue;
    throw unfit(path, `holds projection ${quote(projection.name)} of another log`);
  }
  await build(log, position, aside, projections, (done) => onProgress?.(path, 'building', done, position));
  const right = new Database(aside, { readonly: true });
  let [rows, differences] = [0, 0];
  try {
    for (const { name, tables } of projections) {
      for (const table of tables) {
        onProgress?.(path, 'comparing', position, position);
        const comparison = compareTable(live, right, table);
        let step = comparison.next();
        for (; !step.done; step = comparison.next()) {
          if (step.value) await onDifference({ file: path, projection: name, ...step.value });
          else await turn();
        }
        rows += step.value.rows;
        differences += step.value.differences;
      }
    }
  } finally {
    right.close();
  }
  return { file: path, position, rows, differences };
}

/** The position that all projections of a file are at. */
function positionOf(db: Database.Database, path: string, projections: readonly Projection[]): Position {
  const version = db.prepare('SELECT version FROM projection WHERE name = ?').pluck();
  const positions = projections.map((projection) => {
    const found = version.get(projection.name) as number | undefined;
    if (found !== projection.version) {
      const what = found === undefined ? 'does not have' : `has version ${found} of`;
      throw unfit(path, `${what} projection ${quote(projection.name)}, of which this is version ${projection.version}`);
    }
    return readCheckpoint(db, projection).position;
  });
  const [first = 0] = positions;
  if (positions.some((position) => position !== first)) {
    throw unfit(path, `is being built: its projections are at positions ${positions.join(', ')}; try again later`);
  }
  return first;
}

function compactName(path: string): string {
  return path.replace(/^.*[/\\]/, '');
}

function unfit(path: string, why: string): MemoirError {
  return new MemoirError('FAILED_PRECONDITION', 'FILE_NOT_COMPARABLE', `${quote(path)} ${why}`);
}
