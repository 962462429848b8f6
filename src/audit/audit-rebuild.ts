import { existsSync } from 'node:fs';
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

/**
 * Builds every projection from the log aside, up to where the live files are, and compares all of their rows. The files are read in
 * one transaction each, so that a server may go on.
 * @throws MemoirError FAILED_PRECONDITION for a file that does not exist, is of another version or log, or is being built
 */
export async function auditRebuild(audit: RebuildAudit): Promise<readonly RebuiltFile[]> {
  const compared: RebuiltFile[] = [];
  for (const [set, path] of Object.entries(audit.files) as [ProjectionSet, string][]) {
    compared.push(await auditFile(audit, path, projectionSets[set]));
  }
  return compared;
}

async function auditFile(audit: RebuildAudit, path: string, projections: readonly Projection[]): Promise<RebuiltFile> {
  const { log, directory, onDifference, onProgress } = audit;
  if (!existsSync(path)) throw unfit(path, 'does not exist; was a server ever started with this data directory?');
  const aside = join(directory, `${compactName(path)}.rebuilt`);
  const live = new Database(path, { readonly: true });
  try {
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
  } finally {
    live.close();
  }
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
