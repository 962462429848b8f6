import { fromJson, type JsonValue, toJson } from '@bufbuild/protobuf';
import type Database from 'better-sqlite3';
import { type Exclusion, ExclusionSchema } from '../../gen/memoir/jobs/v1/exclusion_pb.js';
import { isOfNone } from '../../src/domain/exclusions.js';
import { repositoryOfExclusionStream } from '../../src/domain/streams.js';
import type { Position } from '../../src/eventstore/port.js';
import type { Projection } from '../running/projection.js';

/**
 * One row an exclusion, lifted or not. `position` is that of its ExcludedFromReuse, `changed` that of the last event of it;
 * `repository` is empty for those of what belongs to none: images, outputs and workers.
 */
export const exclusions: Projection = {
  name: 'exclusions',
  version: 1,
  tables: ['exclusion'],
  schema: `
    CREATE TABLE exclusion (
      position INTEGER PRIMARY KEY,
      id TEXT NOT NULL,
      repository TEXT NOT NULL,
      exclusion TEXT NOT NULL,
      changed INTEGER NOT NULL,
      reinstated INTEGER NOT NULL DEFAULT 0,
      reinstated_reason TEXT NOT NULL DEFAULT ''
    ) STRICT;
    CREATE INDEX exclusion_id ON exclusion (id);
    CREATE INDEX exclusion_changed ON exclusion (changed);
    CREATE INDEX exclusion_repository ON exclusion (repository, position);
    CREATE INDEX exclusion_standing ON exclusion (position) WHERE reinstated = 0;
  `,
  prepare(db) {
    const insert = db.prepare(
      'INSERT INTO exclusion (position, id, repository, exclusion, changed) VALUES (?, ?, ?, ?, ?)',
    );
    const lift = db.prepare(
      'UPDATE exclusion SET reinstated = 1, reinstated_reason = ?, changed = ? WHERE id = ? AND reinstated = 0',
    );
    return {
      ExcludedFromReuse({ exclusion }, { stream, position }) {
        if (!exclusion) return;
        const repository = isOfNone(exclusion.target) ? '' : repositoryOfExclusionStream(stream);
        const json = JSON.stringify(toJson(ExclusionSchema, exclusion));
        insert.run(position, exclusion.id, repository, json, position);
      },
      ReinstatedForReuse: (event, { position }) => void lift.run(event.reason, position, event.exclusionId),
    };
  },
};

type Row = {
  readonly position: number;
  readonly repository: string;
  readonly exclusion: string;
  readonly changed: number;
  readonly reinstated: number;
  readonly reinstated_reason: string;
};

/** An exclusion as the read model has it. */
export type ExclusionRow = {
  /** Position of its ExcludedFromReuse: the order of age. */
  readonly position: number;
  /** Position of the last event of it. */
  readonly changed: number;
  /** The repository that it concerns; empty for images, outputs and workers. */
  readonly repository: string;
  readonly exclusion: Exclusion;
  readonly reinstated: boolean;
  /** Why it was lifted; empty unless it was. */
  readonly reinstatedReason: string;
};

/** Which exclusions to list. */
export type ExclusionList = {
  /** Only those of one repository; of all unless given. */
  readonly repository?: string;
  readonly includeReinstated: boolean;
  /** Only older ones than the one at this position. */
  readonly before: number;
  readonly limit: number;
};

/** Reads of the exclusions. */
export function exclusionQueries(db: Database.Database) {
  const byId = db.prepare('SELECT * FROM exclusion WHERE id = ?');
  const ofJob = db.prepare(
    "SELECT position, changed FROM exclusion WHERE repository = ? AND exclusion ->> '$.jobUuid' = ? ORDER BY position",
  );
  const atPosition = db.prepare('SELECT * FROM exclusion WHERE position = @position OR changed = @position');
  const changes = db.prepare('SELECT * FROM exclusion WHERE changed > ? ORDER BY changed LIMIT ?');
  const lists = new Map<string, Database.Statement>();
  function listing(conditions: readonly string[]): Database.Statement {
    const sql = `SELECT * FROM exclusion WHERE ${conditions.join(' AND ')} ORDER BY position DESC LIMIT ?`;
    const statement = lists.get(sql) ?? db.prepare(sql);
    lists.set(sql, statement);
    return statement;
  }
  return {
    /** The exclusion with an id. */
    get(id: string): ExclusionRow | undefined {
      const row = byId.get(id) as Row | undefined;
      return row && fromRow(row);
    },
    /** The exclusion of which an event at a position is: that of its order, or of its last change. */
    at(position: Position): ExclusionRow | undefined {
      const row = atPosition.get({ position }) as Row | undefined;
      return row && fromRow(row);
    },
    /** Positions of the events of the exclusions that name a job of a repository, in the order of the log. */
    positionsOfJob(repository: string, uuid: string): Position[] {
      const rows = ofJob.all(repository, uuid) as Pick<Row, 'position' | 'changed'>[];
      return [...new Set(rows.flatMap(({ position, changed }) => [position, changed]))].sort((a, b) => a - b);
    },
    /** Up to `limit` exclusions that changed after a position of the log, in the order of their last changes. */
    changedAfter: (position: number, limit: number) => (changes.all(position, limit) as Row[]).map(fromRow),
    /** Exclusions, the newest first. */
    list({ repository, includeReinstated, before, limit }: ExclusionList): ExclusionRow[] {
      const conditions = ['position < ?', ...(includeReinstated ? [] : ['reinstated = 0'])];
      const rows =
        repository === undefined
          ? listing(conditions).all(before, limit)
          : listing([...conditions, 'repository = ?']).all(before, repository, limit);
      return (rows as Row[]).map(fromRow);
    },
  };
}

function fromRow(row: Row): ExclusionRow {
  return {
    position: row.position,
    changed: row.changed,
    repository: row.repository,
    exclusion: fromJson(ExclusionSchema, JSON.parse(row.exclusion) as JsonValue),
    reinstated: row.reinstated !== 0,
    reinstatedReason: row.reinstated_reason,
  };
}
