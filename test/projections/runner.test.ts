import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import type Database from 'better-sqlite3';
import fc from 'fast-check';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { allProjections } from '../../projections/all.js';
import { jobFromRow, jobQueries } from '../../projections/read-model/jobs.js';
import { queueQueries } from '../../projections/read-model/queue.js';
import { reuseQueries } from '../../projections/read-model/reuse-index.js';
import { dumpReadModel, openReadModelFile, readCheckpoint } from '../../projections/running/database.js';
import type { Handlers, Projection } from '../../projections/running/projection.js';
import { runProjections } from '../../projections/running/runner.js';
import { factsOf } from '../../src/domain/reuse.js';
import { jobStream } from '../../src/domain/streams.js';
import { requestOf } from '../domain/commands.js';
import { rounds } from '../support/rounds.js';
import { same } from '../support/same.js';
import { comparable } from './comparable.js';
import { anyHistory, append, happen, type Told } from './history.js';
import { catchUp, openScratch, type Scratch } from './scratch.js';

/** What `told` says a read model must hold, compared with what its queries give. */
function agrees(t: ExecutionContext, db: Database.Database, told: Told): void {
  const jobs = jobQueries(db);
  const { candidates, lastRun } = reuseQueries(db);
  for (const [uuid, { record, position }] of told) {
    const { job } = record;
    const row = db.prepare('SELECT * FROM job WHERE uuid = ?').get(uuid) as Parameters<typeof jobFromRow>[0];
    const read = { ...jobFromRow(row), attempts: jobs.attempts(row), interests: jobs.interests(row) };
    same(t, comparable(read), comparable(job), uuid);
    t.is(row.position, position);
    t.is(row.deleted !== 0, record.deleted);
    t.is(row.request_digest, record.requestDigest);
    t.deepEqual([row.lease_ms, row.lease_revision], [record.leaseMs, record.leaseRevision]);
    t.deepEqual(jobs.get(uuid), record.deleted ? undefined : row);
    const facts = candidates(job.computationDigest).find((candidate) => candidate.uuid === uuid);
    const { ran } = factsOf(record);
    t.deepEqual(facts, {
      uuid,
      requested: position,
      owner: job.owner,
      state: job.state,
      scriptVersion: job.scriptVersion,
      dockerImageLocator: job.dockerImageLocator,
      arvadosSdkVersion: job.arvadosSdkVersion,
      nondeterministic: job.nondeterministic,
      leaveLfsPointers: job.leaveLfsPointers,
      leaveSubmodules: job.leaveSubmodules,
      deleted: record.deleted,
      output: job.output,
      log: job.state === JobState.COMPLETE ? job.log : '',
      ...(ran && { ran }),
    });
    const runs = [...told.values()].filter((one) => one.record.job.computationDigest === job.computationDigest);
    t.is(lastRun(job.computationDigest), runs.length);
    t.deepEqual(
      candidates(job.computationDigest).map((candidate) => candidate.uuid),
      runs.sort((a, b) => a.position - b.position).map((one) => one.record.job.uuid),
    );
  }
  const queued = [...told.values()]
    .filter(({ record }) => record.job.state === JobState.QUEUED)
    .sort((a, b) => b.record.job.priority - a.record.job.priority || a.position - b.position)
    .map(({ record }) => record.job.uuid);
  const queue = queueQueries(db);
  t.is(queue.size(), queued.length);
  t.deepEqual(
    queue.places(undefined, 1_000).map(({ uuid }) => uuid),
    queued,
  );
  const running = [...told.values()].filter(({ record }) => record.job.state === JobState.RUNNING);
  t.deepEqual(
    jobs
      .leases()
      .map(({ uuid, lease_ms }) => [uuid, lease_ms])
      .sort(),
    running.map(({ record }) => [record.job.uuid, record.leaseMs]).sort(),
  );
}

test('the read model agrees with the domain, however it came about', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(anyHistory, { minLength: 1, maxLength: 3 }),
      fc.array(fc.record({ batchSize: fc.integer({ min: 1, max: 9 }), batches: fc.integer({ min: 1, max: 6 }) }), {
        maxLength: 6,
      }),
      async (histories, runs) => {
        const scratch = await openScratch();
        const { store } = scratch;
        const told: Told = new Map();
        const path = scratch.path('piecemeal.sqlite');
        for (const history of histories) {
          await happen(store, history, told);
          // Runs that end anywhere, each on the file that the one before left.
          for (const run of runs) await catchUp(store, path, run);
        }
        const piecemeal = await catchUp(store, path, { batchSize: 7 });
        same(t, piecemeal, await catchUp(store, scratch.path('rebuilt.sqlite')));
        const db = openReadModelFile(path, allProjections);
        agrees(t, db, told);
        db.close();
        await scratch.close();
      },
    ),
    { numRuns: rounds(6, 15) },
  );
});

/** A projection that notes every event it is given, and not whether it was given it before. */
function noting(name: string, version = 1, trouble: (position: number) => void = () => {}): Projection {
  return {
    name,
    version,
    tables: [name],
    schema: `CREATE TABLE ${name} (position INTEGER NOT NULL, type TEXT NOT NULL) STRICT`,
    prepare(db): Handlers {
      const insert = db.prepare(`INSERT INTO ${name} VALUES (?, ?)`);
      const note = (_event: unknown, { position, type }: { position: number; type: string }) => {
        insert.run(position, type);
        trouble(position);
      };
      return { JobRequested: note, JobStarted: note, JobDeleted: note };
    },
  };
}

async function withJobs(count: number): Promise<Scratch> {
  const scratch = await openScratch();
  for (let n = 0; n < count; n++) {
    const requested = requestOf({ scriptParameters: { n } });
    await append(scratch.store, jobStream(requested.uuid), requested);
  }
  return scratch;
}

const positions = (dump: readonly string[]) => dump.map((line) => JSON.parse(line)[2][0]);

test('each event is applied once, whatever fails and wherever a run ends', async (t) => {
  const scratch = await withJobs(60);
  const path = scratch.path('rm.sqlite');
  for (let round = 0; round < 40; round++) {
    const failing = Math.random() < 0.5;
    const at = Math.ceil(Math.random() * 60);
    const trouble = (position: number) => {
      if (failing && position === at) throw new Error('the disk is on fire');
    };
    const run = catchUp(scratch.store, path, {
      projections: [noting('one'), noting('two', 1, trouble)],
      batchSize: Math.ceil(Math.random() * 8),
      batches: Math.ceil(Math.random() * 2),
    });
    await run.catch((error) => t.is(error.message, 'the disk is on fire'));
  }
  const dump = await catchUp(scratch.store, path, { projections: [noting('one'), noting('two')] });
  const once = Array.from({ length: 60 }, (_, i) => i + 1);
  t.deepEqual(positions(dump), [...once, ...once]);
  await scratch.close();
});

test('a raised version rebuilds that projection alone', async (t) => {
  const scratch = await withJobs(20);
  const path = scratch.path('rm.sqlite');
  const seen: string[] = [];
  const watched = (name: string, version: number) =>
    noting(name, version, (position) => seen.push(`${name}${position}`));
  const before = await catchUp(scratch.store, path, { projections: [watched('one', 1), watched('two', 1)] });
  seen.length = 0;
  same(t, await catchUp(scratch.store, path, { projections: [watched('one', 1), watched('two', 2)] }), before);
  t.deepEqual(
    seen,
    Array.from({ length: 20 }, (_, i) => `two${i + 1}`),
  );
  seen.length = 0;
  // Lowered too: a server of the version before must not read what the newer one made.
  await catchUp(scratch.store, path, { projections: [watched('one', 1), watched('two', 1)] });
  t.is(seen.length, 20);
  await scratch.close();
});

test('each of the projections can be rebuilt alone', async (t) => {
  const scratch = await openScratch();
  const told: Told = new Map();
  await happen(scratch.store, fc.sample(anyHistory, { numRuns: 4, seed: 5 }).flat(), told);
  const path = scratch.path('rm.sqlite');
  const before = await catchUp(scratch.store, path);
  for (const raised of allProjections) {
    const projections = allProjections.map((one) => (one === raised ? { ...one, version: one.version + 1 } : one));
    // With an end in the middle, after which the jobs that go on are those that began before it.
    await catchUp(scratch.store, path, { projections, batchSize: 5, batches: 3 });
    same(t, await catchUp(scratch.store, path, { projections, batchSize: 5 }), before, raised.name);
    same(t, await catchUp(scratch.store, path), before, raised.name);
  }
  await scratch.close();
});

test('a read model of another log is rebuilt', async (t) => {
  const [one, other] = [await withJobs(9), await withJobs(5)];
  const path = one.path('rm.sqlite');
  await catchUp(one.store, path);
  // The other log is shorter, then as long, then longer than what the checkpoint says; the event there is never the same.
  for (let more = 0; more < 3; more++) {
    const fresh = await catchUp(other.store, other.path(`fresh-${more}.sqlite`));
    same(t, await catchUp(other.store, path), fresh);
    await catchUp(one.store, path);
    for (let n = 0; n < 4; n++) {
      const requested = requestOf({ scriptParameters: { more, n } });
      await append(other.store, jobStream(requested.uuid), requested);
    }
  }
  await one.close();
  await other.close();
});

test('a damaged read model is made anew', async (t) => {
  const scratch = await withJobs(300);
  const path = scratch.path('rm.sqlite');
  const sound = await catchUp(scratch.store, path);
  const bytes = readFileSync(path);
  const damages: [name: string, spoil: () => void][] = [
    ['text', () => writeFileSync(path, 'Dear diary, '.repeat(1_000))],
    ['nothing', () => truncateSync(path, 0)],
    ['half', () => truncateSync(path, Math.floor(bytes.length / 2))],
    ['head', () => writeFileSync(path, Buffer.concat([Buffer.alloc(100), bytes.subarray(100)]))],
    // The first page is sound; pages of tables and indexes are not.
    [
      'pages',
      () => writeFileSync(path, Buffer.concat([bytes.subarray(0, 4_096), Buffer.alloc(bytes.length - 4_096, 0xaa)])),
    ],
    ['a page', () => writeFileSync(path, Buffer.from(bytes).fill(0, bytes.length - 8_192, bytes.length - 4_096))],
  ];
  for (const [name, spoil] of damages) {
    spoil();
    same(t, await catchUp(scratch.store, path), sound, name);
  }
  await scratch.close();
});

test('a read model may be in memory alone', async (t) => {
  const scratch = await withJobs(5);
  same(t, await catchUp(scratch.store, ':memory:'), await catchUp(scratch.store, scratch.path('rm.sqlite')));
  await scratch.close();
});

test('rows and checkpoint are committed together', async (t) => {
  const scratch = await withJobs(10);
  const projections = [noting('one')];
  const db = openReadModelFile(scratch.path('rm.sqlite'), projections);
  const reader = openReadModelFile(scratch.path('rm.sqlite'), projections);
  const stop = new AbortController();
  await runProjections(scratch.store, db, projections, {
    signal: stop.signal,
    batchSize: 3,
    onApplied({ position, live, events }) {
      t.true(events.length <= 3);
      t.is(readCheckpoint(reader, projections[0] as Projection).position, position);
      t.is(Math.max(...positions([...dumpReadModel(reader, projections)])), position);
      if (live) stop.abort();
    },
  });
  db.close();
  reader.close();
  await scratch.close();
});

test('an event that cannot be read is passed over', async (t) => {
  const scratch = await withJobs(3);
  const id = '00000000-0000-4000-8000-000000000001';
  await scratch.store.append('job-x', 'any', [{ id, type: 'JobStarted', data: '{"lease":"soon"}', metadata: '{}' }]);
  const path = scratch.path('rm.sqlite');
  await catchUp(scratch.store, path, { batchSize: 2 });
  const db = openReadModelFile(path, allProjections);
  t.is(readCheckpoint(db, allProjections[0] as Projection).position, 4);
  db.close();
  await scratch.close();
});
