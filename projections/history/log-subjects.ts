import type Database from 'better-sqlite3';
import {
  checkpointStream,
  exclusionStream,
  exclusionStreamsOfNone,
  imageStream,
  jobLogStream,
  jobStream,
  repositoryOfExclusionStream,
  repositorySetStream,
  uuidOfAnyJobStream,
} from '../../src/domain/streams.js';
import type { Position, RecordedEvent } from '../../src/eventstore/port.js';
import type { Projection } from '../running/projection.js';

/** Names whose numbers are kept at hand. */
const cacheSize = 20_000;

/** By what events are found. */
const kinds = { principal: 1, repository: 2 } as const;

/** A principal on whose behalf events were recorded, or a repository that they are about. */
export type SubjectKind = keyof typeof kinds;

/**
 * Where in the log the events of each principal and of each repository are, those of live logs excepted. `subject_job` has the
 * repository of each job, by the position of its JobRequested.
 */
export const logSubjects: Projection = {
  name: 'log-subjects',
  version: 2,
  tables: ['subject', 'subject_event', 'subject_job', 'event_place'],
  schema: `
    CREATE TABLE subject (
      id INTEGER PRIMARY KEY,
      kind INTEGER NOT NULL,
      name TEXT NOT NULL,
      UNIQUE (kind, name)
    ) STRICT;
    CREATE TABLE subject_event (
      subject INTEGER NOT NULL,
      position INTEGER NOT NULL,
      PRIMARY KEY (subject, position)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE subject_job (
      job INTEGER PRIMARY KEY,
      repository INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE event_place (
      position INTEGER PRIMARY KEY,
      repository INTEGER NOT NULL,
      job INTEGER
    ) STRICT;
  `,
  prepareBatch(db, positionOf) {
    const idOf = subjectIds(db);
    const insert = db.prepare('INSERT INTO subject_event (subject, position) VALUES (?, ?)');
    const insertJob = db.prepare('INSERT INTO subject_job (job, repository) VALUES (?, ?)');
    const selectJob = db.prepare('SELECT repository FROM subject_job WHERE job = ?').pluck();

    const insertPlace = db.prepare('INSERT INTO event_place (position, repository, job) VALUES (?, ?, ?)');

    /** The repository of an event, and its job, where it has them. */
    function placeOf({ stream, type, data, position, revision }: RecordedEvent): Partial<PlaceRow> {
      const uuid = uuidOfAnyJobStream(stream);
      if (uuid === undefined) {
        const repository = stream === repositorySetStream ? member(data, 'name') : repositoryOfExclusions(stream);
        return repository === undefined ? {} : { repository: idOf('repository', repository) };
      }
      if (type === 'JobRequested' && revision === 0 && stream === jobStream(uuid)) {
        const repository = idOf('repository', member(data, 'repository'));
        insertJob.run(position, repository);
        return { repository, job: position };
      }
      const job = positionOf(jobStream(uuid));
      const repository = selectJob.get(job) as number | undefined;
      return { job, ...(repository !== undefined && { repository }) };
    }

    return (events) => {
      for (const event of events) {
        const { repository, job = null } = placeOf(event);
        if (repository !== undefined || !isForAll(event))
          insertPlace.run(event.position, repository ?? noRepository, job);
        if (event.stream.startsWith(jobLogStream(''))) continue;
        insert.run(idOf('principal', member(event.metadata, 'principal')), event.position);
        if (repository !== undefined) insert.run(repository, event.position);
      }
    };
  },
};

/** In the place of the repository of what belongs to none. */
const noRepository = 0;

type PlaceRow = { readonly repository: number; readonly job: number | null };

/** Whether everybody may read an event that belongs to no repository. */
export function isForAll({ stream, type }: Pick<RecordedEvent, 'stream' | 'type'>): boolean {
  return (
    stream.startsWith(imageStream('')) ||
    stream === checkpointStream ||
    type === 'GenerationStarted' ||
    type === 'SigningKeysChanged'
  );
}

function subjectIds(db: Database.Database): (kind: SubjectKind, name: string) => number {
  const select = db.prepare('SELECT id FROM subject WHERE kind = ? AND name = ?').pluck();
  const insert = db.prepare('INSERT INTO subject (kind, name) VALUES (?, ?)');
  const known = new Map<string, number>();
  return (kind, name) => {
    const key = `${kind} ${name}`;
    let id = known.get(key) ?? (select.get(kinds[kind], name) as number | undefined);
    id ??= Number(insert.run(kinds[kind], name).lastInsertRowid);
    if (known.size >= cacheSize) known.clear();
    known.set(key, id);
    return id;
  };
}

function repositoryOfExclusions(stream: string): string | undefined {
  if (!stream.startsWith(exclusionStream('')) || exclusionStreamsOfNone.includes(stream)) {
    return undefined;
  }
  return repositoryOfExclusionStream(stream);
}

/** A text in a JSON object; empty where there is none, as in what others wrote into the store. */
function member(json: string, name: string): string {
  try {
    const value = (JSON.parse(json) as Record<string, unknown> | null)?.[name];
    return typeof value === 'string' ? value : '';
  } catch {
    return '';
  }
}

/** By what to find events; at least one of them. */
export type Subjects = { readonly principal?: string | undefined; readonly repository?: string | undefined };

/** What the readers of an event are told by. */
export type EventPlace = {
  /** Empty for what belongs to none, which those may read who may read all. */
  readonly repository: string;
  /** Position of the job's JobRequested; null if it is of none. */
  readonly job: Position | null;
};

/** Reads of the subjects. */
export function logSubjectQueries(db: Database.Database) {
  const idOf = db.prepare('SELECT id FROM subject WHERE kind = ? AND name = ?').pluck();
  const section = 'position > ? AND position <= ? ORDER BY position LIMIT ?';
  const ofOne = db.prepare(`SELECT position FROM subject_event WHERE subject = ? AND ${section}`).pluck();
  const ofBoth = db
    .prepare(`
      SELECT position FROM subject_event AS one WHERE subject = ?
        AND EXISTS (SELECT 1 FROM subject_event AS other WHERE other.subject = ? AND other.position = one.position)
        AND ${section}`)
    .pluck();
  const placeAt = db.prepare(`
    SELECT coalesce(subject.name, '') AS repository, event_place.job
    FROM event_place LEFT JOIN subject ON subject.id = event_place.repository WHERE event_place.position = ?`);
  return {
    /** By what the readers of the event at a position are told; undefined of what everybody may read, and where there is none. */
    placeAt: (position: Position) => placeAt.get(position) as EventPlace | undefined,
    /** Positions of up to `limit` events of all the subjects, after `after` and up to `last`, in the order of the log. */
    positions({ principal, repository }: Subjects, after: Position, last: Position, limit: number): Position[] {
      const names: [SubjectKind, string | undefined][] = [
        ['principal', principal],
        ['repository', repository],
      ];
      const ids: (number | undefined)[] = [];
      for (const [kind, name] of names) {
        if (name !== undefined) ids.push(idOf.get(kinds[kind], name) as number | undefined);
      }
      if (ids.includes(undefined)) return [];
      return (ids.length > 1 ? ofBoth : ofOne).all(...ids, after, last, limit) as Position[];
    },
  };
}
