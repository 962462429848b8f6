import {
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { equals } from '@bufbuild/protobuf';
import Database from 'better-sqlite3';
import { JobSchema, JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { CallError } from '../../src/rpc/call-error.js';
import { makeProject } from '../support/project.js';
import { field, rawCall } from '../support/raw-call.js';
import { liveRows, rebuiltRows } from '../support/read-model.js';
import { failure } from '../support/refused.js';
import { complete, find, request, uuidOf } from '../support/runs.js';
import { same } from '../support/same.js';
import { test } from '../support/serial.js';
import { startTestServer, type TestServer } from '../support/server.js';
import { smallDisk } from '../support/small-disk.js';
import { until } from '../support/until.js';

const project = makeProject();
test.after.always(() => project.repository.dispose());

/** Whether the health service says that a service serves; of "", that all do. */
async function serves(server: TestServer, service = ''): Promise<boolean> {
  const answer = await rawCall(server.address(), '/grpc.health.v1.Health/Check', field(1, service));
  return answer.equals(Buffer.from([8, 1]));
}

test('a read model that cannot be written is told in the log, costs no write, and goes on when it can', async (t) => {
  const server = await startTestServer({ repositories: { project: project.repository.path } });
  t.teardown(() => server.dispose());
  const ada = server.as('ada');
  const running = uuidOf(await request(ada));
  const { consistencyToken: claimed } = await ada.worker.claimJob({ uuid: running });
  await ada.jobs.listJobs({ consistencyToken: claimed });
  const other = new Database(join(server.config.data_dir, 'read-model.sqlite'));
  t.teardown(() => other.close());
  other.exec('BEGIN IMMEDIATE');
  const made = await find(ada, { scriptParameters: { trouble: 1 } });
  const uuid = uuidOf(made);
  const { consistencyToken } = made;
  // What its own stream tells is told; a list, after a short wait, says how old it is.
  t.is((await ada.jobs.getJob({ uuid })).job?.uuid, uuid);
  const [old, none] = await Promise.all([ada.jobs.listJobs({}), server.as('eve').jobs.listJobs({})]);
  t.deepEqual([old.jobs.map((job) => job.uuid), old.completeUpTo], [[running], String((await server.end()) - 1)]);
  t.is(none.completeUpTo, '');
  const late = await failure(t, () => ada.jobs.getJob({ uuid, consistencyToken }, { timeoutMs: 500 }));
  t.is(late.code, 4);
  const { msg } = await until('a line in the log', () => server.errors.find((line) => /read model/.test(line.msg)));
  t.is(msg, 'the read model cannot be kept up to date');

  // Whatever depends on it says so after seconds, since nobody can tell how much it misses; what a worker reports is recorded.
  await until('health tells', async () => !(await serves(server)));
  t.false(await serves(server, 'memoir.jobs.v1.JobsService'));
  const dependent: [what: string, call: () => Promise<unknown>][] = [
    ['GetJob', () => ada.jobs.getJob({ uuid })],
    ['ListJobs', () => ada.jobs.listJobs({})],
    ['GetQueue', () => ada.jobs.getQueue({})],
    ['GetQueueSize', () => ada.jobs.getQueueSize({})],
    ['ClaimJob', () => ada.worker.claimJob({})],
    ['CreateJob', () => request(ada)],
  ];
  const refusals = await Promise.all(dependent.map(async ([what, call]) => [what, await failure(t, call)] as const));
  for (const [what, refusal] of refusals) {
    t.deepEqual([refusal.code, refusal.reason], [14, 'READ_MODEL_UNAVAILABLE'], what);
  }
  await t.notThrowsAsync(ada.worker.heartbeat({ uuid: running }));
  other.exec('ROLLBACK');
  await until('health tells', () => serves(server));
  t.is((await ada.jobs.getJob({ uuid, consistencyToken })).job?.uuid, uuid);
  t.is(uuidOf(await find(ada, { scriptParameters: { trouble: 1 } })), uuid);
  t.false((await request(ada)).reused);
  server.errors.length = 0;
});

/** Turns one bit in every so many bytes of a file around. */
function spoil(path: string, every: number): void {
  const file = openSync(path, 'r+');
  const byte = Buffer.alloc(1);
  for (let at = every; at < fstatSync(file).size; at += every) {
    readSync(file, byte, 0, 1, at);
    byte[0] = (byte[0] as number) ^ (1 << (at % 8));
    writeSync(file, byte, 0, 1, at);
  }
  closeSync(file);
}

test('files that are damaged or removed under a server are made anew, and never tell other than the log after that', async (t) => {
  const server = await startTestServer({ repositories: { project: project.repository.path } });
  t.teardown(() => server.dispose());
  const made = [];
  for (let n = 0; n < 20; n++) made.push(uuidOf(await request(server.as('ada'), { scriptParameters: { n } })));
  await complete(server.as('ada'), made[3] ?? '');
  const { jobs: right } = await server.as('ada').jobs.listJobs({});
  t.is(right.length, 20);
  // So that all is in the files, and not in their logs of writes.
  await server.restart();
  const ada = server.as('ada');
  const files = ['read-model.sqlite', 'history.sqlite'].map((name) => join(server.config.data_dir, name));
  const asOf = { moment: { case: 'position' as const, value: BigInt(await server.end()) } };

  /** The answer, for which a client asks again while the server says that it has none now. */
  const answer = <T>(call: () => Promise<T>) =>
    until('an answer', async () => {
      try {
        return await call();
      } catch (error) {
        if (error instanceof CallError && error.code === 14) return undefined;
        throw error;
      }
    });

  const whole = async () => {
    const { jobs } = await answer(() => ada.jobs.listJobs({}));
    t.is(jobs.length, right.length);
    for (const [i, job] of jobs.entries()) {
      t.true(equals(JobSchema, job, right[i] as typeof job));
      const alone = await answer(() => ada.jobs.getJob({ uuid: job.uuid }));
      // Who waits and what ran is told of one job alone.
      t.true(equals(JobSchema, { ...(alone.job as typeof job), attempts: [], interests: [] }, job));
    }
    t.is((await answer(() => ada.jobs.listJobs({ asOf }))).jobs.length, right.length);
    same(t, liveRows(server.config), await rebuiltRows(server.config));
  };

  for (const path of files) spoil(path, 1_500);
  for (const path of files) await until(`${path} is set aside`, () => existsSync(`${path}.damaged`));
  await until('health tells', () => serves(server));
  await whole();

  for (const path of files) rmSync(path);
  for (const path of files) await until(`${path} is there again`, () => existsSync(path));
  await until('health tells', () => serves(server));
  await whole();
  const more = await answer(() => request(ada));
  t.is(
    (await ada.jobs.getJob({ uuid: uuidOf(more), consistencyToken: more.consistencyToken })).job?.uuid,
    uuidOf(more),
  );

  // And what is damaged while nobody has it open, before it is read.
  await server.stop();
  for (const path of files) rmSync(`${path}.damaged`);
  for (const path of files) spoil(path, 1_500);
  await server.restart();
  for (const path of files) t.true(existsSync(`${path}.damaged`));
  t.is((await server.as('ada').jobs.listJobs({})).jobs.length, right.length + 1);
});

test('a read model that is cut while jobs are queued and claims wait is made anew, and the server goes on', async (t) => {
  const server = await startTestServer({ repositories: { project: project.repository.path } });
  t.teardown(() => server.dispose());
  const ada = server.as('ada');
  for (let n = 0; n < 20; n++) await request(ada, { scriptParameters: { cut: n } });
  const path = join(server.config.data_dir, 'read-model.sqlite');
  // The thread that writes it has its pages in memory. What backs off is looked up whenever a job is queued, by nobody's call.
  truncateSync(path, 8_192);
  let n = 20;
  await until('the read model is made anew', async () => {
    await request(ada, { scriptParameters: { cut: n++ } }).catch((error: unknown) => {
      if (!(error instanceof CallError && error.code === 14)) throw error;
    });
    return existsSync(`${path}.damaged`);
  });
  await until('health tells', () => serves(server));
  const { job } = await server.as('w').worker.claimJob({ wait: { seconds: 5n } });
  t.is(job?.state, JobState.RUNNING);
  // A watch that looked meanwhile says so.
  for (const { err } of server.errors.splice(0)) t.regex(err?.message ?? '', /the read model cannot be read now/);
});

test('what decisions keep in memory of a read model that was wrong goes when it is made anew', async (t) => {
  const server = await startTestServer({ repositories: { project: project.repository.path } });
  t.teardown(() => server.dispose());
  const ada = server.as('ada');
  const uuid = uuidOf(await request(ada));
  await complete(ada, uuid);
  const output = (await ada.jobs.getJob({ uuid })).job?.output ?? '';
  const { consistencyToken } = await ada.exclusions.excludeFromReuse({
    target: { case: 'output', value: 'sha256:another' },
    reason: 'x',
  });
  await ada.exclusions.listExclusions({ consistencyToken });
  const path = join(server.config.data_dir, 'read-model.sqlite');
  const other = new Database(path);
  other.pragma('wal_autocheckpoint = 0');
  other.prepare('UPDATE exclusion SET exclusion = replace(exclusion, ?, ?)').run('sha256:another', output);
  other.close();
  t.not(uuidOf(await find(ada)), uuid, 'as the file says it');
  rmSync(path);
  await until(`${path} is there again`, () => existsSync(path));
  await until('health tells', () => serves(server));
  const found = await until('an answer', () =>
    find(ada).catch((error: CallError) => {
      if (error.code !== 14) throw error;
      return undefined;
    }),
  );
  t.is(uuidOf(found), uuid, 'as the log says it');
});

/** Takes what is left of a disk. Gives back what makes room again. */
function fill(disk: string): () => void {
  const path = join(disk, 'filler');
  const file = openSync(path, 'w');
  try {
    for (const size of [64 * 1024, 512]) {
      try {
        for (;;) writeSync(file, Buffer.alloc(size, 'x'));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      }
    }
  } finally {
    closeSync(file);
  }
  return () => rmSync(path);
}

test('while the disk of the read model is full and that of the log is not, nothing is answered from what it has', async (t) => {
  const disk = smallDisk(t);
  if (disk === undefined) return;
  const logs = mkdtempSync(join(tmpdir(), 'memoir-logs-'));
  t.teardown(() => rmSync(logs, { recursive: true, force: true }));
  const settings = { data_dir: join(disk, 'data'), store: `sqlite:${join(logs, 'events.sqlite')}` };
  const server = await startTestServer({ repositories: { project: project.repository.path }, settings });
  t.teardown(() => server.dispose());
  const ada = server.as('ada');
  const made = [uuidOf(await request(ada))];
  const makeRoom = fill(disk);
  await until('health tells', async () => {
    const job = await request(ada, { description: 'x'.repeat(20_000) }).catch((error: CallError) => {
      if (error.code !== 14) throw error;
      return undefined;
    });
    if (job) made.push(uuidOf(job));
    return !(await serves(server));
  });
  for (const call of [() => ada.jobs.listJobs({}), () => ada.jobs.getJob({ uuid: made.at(-1) ?? '' })]) {
    const error = await failure(t, call);
    t.deepEqual([error.code, error.reason], [14, 'READ_MODEL_UNAVAILABLE']);
    t.regex(error.message, /full/);
  }
  makeRoom();
  await until('health tells', () => serves(server));
  const { jobs } = await ada.jobs.listJobs({ pageSize: 1_000 });
  t.deepEqual(jobs.map(({ uuid }) => uuid).sort(), made.sort());
  t.true(server.errors.some(({ msg }) => msg === 'the read model cannot be kept up to date'));
  server.errors.length = 0;
});

test('a server that is started on a full disk says so, and what could not be written', async (t) => {
  const disk = smallDisk(t);
  if (disk === undefined) return;
  const logs = mkdtempSync(join(tmpdir(), 'memoir-logs-'));
  t.teardown(() => rmSync(logs, { recursive: true, force: true }));
  const data = join(disk, 'data');
  mkdirSync(data);
  fill(disk);
  for (const [settings, message] of [
    [
      { data_dir: data, store: `sqlite:${join(logs, 'events.sqlite')}` },
      /^the checkpoint key cannot be made: ".*checkpoint\.key" cannot be written: ENOSPC: no space left on device/,
    ],
    [{ data_dir: data }, /events\.sqlite" cannot be (opened|written|locked).*(full|no space left)/],
  ] as const) {
    await t.throwsAsync(startTestServer({ settings }), { message });
  }
});
