import type Database from 'better-sqlite3';
import type { MemoirEvent } from '../../src/domain/events.js';
import type { RecordedEvent } from '../../src/eventstore/port.js';
import type { PositionOf } from './job-position.js';

/** The last part of a message's full name, as the event type of the log. */
type BareName<T extends string> = T extends `memoir.events.v1.${infer Name}` ? Name : never;

type EventOf<Name extends string> = Extract<MemoirEvent, { $typeName: `memoir.events.v1.${Name}` }>;

/** What a projection does with each type of event; types that are left out do not concern it. */
export type Handlers = {
  readonly [Name in BareName<MemoirEvent['$typeName']>]?: (event: EventOf<Name>, recorded: RecordedEvent) => void;
};

/** What a projection does with the events of a transaction as they were recorded, those of unknown types too. Never empty. */
export type BatchHandler = (events: readonly RecordedEvent[]) => void;

/** A view of the log in tables of its own. It is a function of the events alone: a rebuild gives the same rows. */
export type Projection = {
  readonly name: string;
  /** Raised when tables or handlers change; the projection is then rebuilt. */
  readonly version: number;
  /** Names of its tables. */
  readonly tables: readonly string[];
  /** SQL that creates its tables, and the indexes that its handlers need. */
  readonly schema: string;
  /**
   * SQL that creates the indexes that only reads need, if they are not there. It is run when the end of the log was reached for the
   * first time: to keep them through a rebuild takes several times as long as to make them at its end.
   */
  readonly indexes?: string;
  /** SQL that gives the position of the JobRequested of the job with the uuid `@uuid`, for `positionOf`. */
  readonly findJob?: string;
  /** Makes the handlers, which write to `db` inside a transaction of the runner. */
  readonly prepare?: (db: Database.Database, positionOf: PositionOf) => Handlers;
  /** Makes what is called once in each transaction, after the handlers. Rows must not depend on where a batch ends. */
  readonly prepareBatch?: (db: Database.Database, positionOf: PositionOf) => BatchHandler;
};
