import { create, type MessageInitShape } from '@bufbuild/protobuf';
import Database from 'better-sqlite3';
import type { JobRequestedSchema } from '../../gen/memoir/events/v1/events_pb.js';
import { JobAttemptEndedSchema, JobStartedSchema } from '../../gen/memoir/events/v1/events_pb.js';
import { type QueuedRow, queue, queueQueries } from '../../projections/read-model/queue.js';
import type { JobEvent } from '../../src/domain/events.js';
import { jobStream } from '../../src/domain/streams.js';
import { requestOf } from '../domain/commands.js';

/** The projection of the queue alone, in memory, fed with events one by one. */
export function queueBench() {
  const db = new Database(':memory:');
  // What its queries look jobs up by.
  db.exec('CREATE TABLE job (position INTEGER PRIMARY KEY, uuid TEXT NOT NULL) STRICT');
  db.exec(queue.schema);
  const positions = new Map<string, number>();
  const handlers = queue.prepare?.(db, (stream) => positions.get(stream) ?? null) as unknown as Record<
    string,
    (event: JobEvent, recorded: { stream: string; position: number }) => void
  >;
  const insert = db.prepare('INSERT INTO job (position, uuid) VALUES (?, ?)');
  const told: (readonly [uuid: string, event: JobEvent])[] = [];
  let position = 0;

  function tell(uuid: string, event: JobEvent): void {
    told.push([uuid, event]);
    position++;
    const stream = jobStream(uuid);
    if (event.$typeName === 'memoir.events.v1.JobRequested') {
      positions.set(stream, position);
      insert.run(position, uuid);
    }
    handlers[event.$typeName.slice('memoir.events.v1.'.length)]?.(event, { stream, position });
  }

  let n = 0;
  const queries = queueQueries(db);
  return {
    queries,
    /** Everything that it was told. */
    told,
    tell,
    request(facts: MessageInitShape<typeof JobRequestedSchema>): string {
      const event = requestOf({ scriptParameters: { n: n++ }, ...facts });
      tell(event.uuid, event);
      return event.uuid;
    },
    start: (uuid: string) => tell(uuid, create(JobStartedSchema, { worker: 'w' })),
    giveBack: (uuid: string) => tell(uuid, create(JobAttemptEndedSchema, {})),
    /** The queue in order. */
    places: (): QueuedRow[] => queries.places(undefined, 1_000_000),
    /** All rows of its tables. */
    dump: () =>
      Object.fromEntries(
        queue.tables.map((table) => [table, db.prepare(`SELECT * FROM ${table} ORDER BY 1, 2`).all()]),
      ),
    close: () => db.close(),
  };
}

export type QueueBench = ReturnType<typeof queueBench>;
