import { create, type JsonObject } from '@bufbuild/protobuf';
import test from 'ava';
import Database from 'better-sqlite3';
import fc from 'fast-check';
import { JobRequestedSchema } from '../../gen/memoir/events/v1/events_pb.js';
import { jobs as jobTable } from '../../projections/read-model/jobs.js';
import { nearJobQueries, nearJobsOf } from '../../projections/read-model/near-misses/near-jobs.js';
import { leavesOf, nearKeys } from '../../src/domain/near-misses/leaves.js';
import type { RecordedEvent } from '../../src/eventstore/port.js';

/** The projection over jobs with these parameters, whose positions are those in the list; begun anew at some of them. */
function projected(most: number, jobs: readonly JsonObject[], begunAt: ReadonlySet<number> = new Set()) {
  const db = new Database(':memory:');
  const projection = nearJobsOf(most);
  db.exec(projection.schema);
  // What the other read wants.
  db.exec(jobTable.schema);
  const begin = () => projection.prepare?.(db, () => null);
  let handlers = begin();
  for (const [position, scriptParameters] of jobs.entries()) {
    if (begunAt.has(position)) handlers = begin();
    const event = create(JobRequestedSchema, { repository: 'weather', script: 'run.sh', scriptParameters });
    handlers?.JobRequested?.(event, { position } as RecordedEvent);
  }
  return { db, near: nearJobQueries(db) };
}

const parameters = fc.record(
  { a: fc.nat(3), b: fc.nat(3), c: fc.constantFrom('x', 'y', ''), d: fc.array(fc.nat(2), { maxLength: 3 }) },
  { requiredKeys: [] },
) as fc.Arbitrary<JsonObject>;
const many = fc.array(parameters, { minLength: 1, maxLength: 40 });

test('the newest jobs of a key are found, wherever their keys stand', (t) => {
  fc.assert(
    fc.property(
      many,
      parameters,
      fc.constantFrom(1, 7, 30, 10_000),
      fc.integer({ min: 1, max: 12 }),
      (jobs, asked, most, limit) => {
        const { db, near } = projected(most, jobs);
        const { script, near: keys } = nearKeys('weather', 'run.sh', leavesOf(asked));
        for (const key of [script, ...keys]) {
          const has = jobs.map((job) => nearKeys('weather', 'run.sh', leavesOf(job)));
          const expected = has.flatMap((own, at) =>
            [own.script, ...own.near].some((one) => one.equals(key)) ? [at] : [],
          );
          t.deepEqual(near.newest(key, limit), expected.toReversed().slice(0, limit));
        }
        db.close();
      },
    ),
  );
});

test('the rows are the same whenever the projection goes on after a pause', (t) => {
  const positions = fc.array(fc.nat(39)).map((some) => new Set(some));
  fc.assert(
    fc.property(many, positions, (jobs, begunAt) => {
      const [one, other] = [projected(12, jobs), projected(12, jobs, begunAt)];
      for (const table of ['near_job', 'near_recent']) {
        const rows = `SELECT * FROM ${table}`;
        t.deepEqual(one.db.prepare(rows).all(), other.db.prepare(rows).all());
      }
      one.db.close();
      other.db.close();
    }),
  );
});
