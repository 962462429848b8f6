import { copyFileSync, cpSync, existsSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import Database from 'better-sqlite3';
import { startMemoir } from '../../demo/program.js';
import { auditRebuild, type RebuildDifference } from '../../src/audit/audit-rebuild.js';
import { exitCodes } from '../../src/cli/exit-code.js';
import { openSqliteLog } from '../../src/eventstore/sqlite/store.js';
import { makeProject } from '../support/project.js';
import { find } from '../support/runs.js';
import { decideAll, policedServer } from './scene.js';

const project = makeProject();
const directory = mkdtempSync(join(tmpdir(), 'memoir-rebuild-test-'));
const server = await policedServer(project);
await decideAll(server, project);
const { data_dir } = server.config;

test.after.always(async () => {
  await server.dispose();
  project.repository.dispose();
  rmSync(directory, { recursive: true });
});

async function compared(readModel: string, history: string) {
  const room = mkdtempSync(join(directory, 'aside-'));
  const log = openSqliteLog(join(data_dir, 'events.sqlite'));
  const differences: RebuildDifference[] = [];
  try {
    const files = await auditRebuild({
      log,
      files: { 'read model': readModel, history },
      directory: room,
      onDifference: (difference) => void differences.push(difference),
    });
    return { files, differences };
  } finally {
    await log.close();
  }
}

/** Copies of the live files, one of them changed. */
function altered(name: string, change: (db: Database.Database) => void, which = 'read-model.sqlite') {
  const copies = ['read-model.sqlite', 'history.sqlite'].map((file) => {
    const [from, to] = [join(data_dir, file), join(directory, `${name}-${file}`)];
    for (const suffix of ['', '-wal']) if (existsSync(from + suffix)) copyFileSync(from + suffix, to + suffix);
    if (file === which) {
      const db = new Database(to);
      change(db);
      db.close();
    }
    return to;
  });
  return copies as [string, string];
}

test.serial('while a server runs and takes calls, its files are what the log gives', async (t) => {
  const ada = server.as('ada');
  let going = true;
  const busy = (async () => {
    for (let n = 0; going; n++) await find(ada, { scriptParameters: { busy: n } });
  })();
  const { files, differences } = await compared(join(data_dir, 'read-model.sqlite'), join(data_dir, 'history.sqlite'));
  going = false;
  await busy;
  t.deepEqual(differences, []);
  t.deepEqual(
    files.map((file) => 'rows' in file && [file.differences, file.rows > 30, file.position > 100]),
    [
      [0, true, true],
      [0, true, true],
    ],
  );
});

test.serial('a row that was altered, taken out or put in is named', async (t) => {
  await server.stop();
  const job = (db: Database.Database, offset: number) =>
    db.prepare('SELECT position FROM job ORDER BY position LIMIT 1 OFFSET ?').pluck().get(offset) as number;
  let [changedJob, lostJob] = [0, 0];
  const [readModel, history] = altered('jobs', (db) => {
    [changedJob, lostJob] = [job(db, 3), job(db, 5)];
    db.prepare("UPDATE job SET output = 'sha256:forged' WHERE position = ?").run(changedJob);
    db.prepare('DELETE FROM candidate WHERE position = ?').run(lostJob);
    const place = "9999999, 'x', 'z', 'y', 0, 0, 1, 0, 0, 0, 0, 0";
    const columns =
      'position, uuid, owner, repository, urgency, turn, shape, cores, ram_mb, scratch_mb, lost_at, is_check';
    db.exec(`INSERT INTO queued (${columns}) VALUES (${place})`);
    db.prepare("INSERT INTO address (key, gave, job) VALUES (x'00', 1, 7)").run();
  });
  const { files, differences } = await compared(readModel, history);
  t.deepEqual(
    differences.map(({ projection, table, kind, key }) => [projection, table, kind, key.position ?? key.job]),
    [
      ['jobs', 'job', 'differs', changedJob],
      ['reuse-index', 'candidate', 'missing', lostJob],
      ['queue', 'queued', 'added', 9_999_999],
      ['lineage', 'address', 'added', 7],
    ],
  );
  t.is(differences[0]?.columns.output?.found, 'sha256:forged');
  t.deepEqual(
    files.map((file) => 'rows' in file && file.differences),
    [4, 0],
  );
});

test.serial('the history is compared too, and memoir audit rebuild says so with its exit code', async (t) => {
  const [readModel, history] = altered(
    'lives',
    (db) => {
      db.exec('UPDATE job_life SET finished = finished + 1 WHERE job = (SELECT min(job) FROM job_life)');
    },
    'history.sqlite',
  );
  const { differences } = await compared(readModel, history);
  t.deepEqual(
    differences.map(({ table, kind, columns }) => [table, kind, Object.keys(columns)]),
    [['job_life', 'differs', ['finished']]],
  );

  const right = startMemoir(['audit', 'rebuild', '--data-dir', data_dir]);
  t.is(await right.ended(), 0, right.errors());
  t.regex(right.output(), /read-model\.sqlite at position \d+: \d+ rows, 0 differ/);
  const db = new Database(join(data_dir, 'read-model.sqlite'));
  db.exec("UPDATE job SET description = 'another' WHERE position = (SELECT min(position) FROM job)");
  db.close();
  const wrong = startMemoir(['audit', 'rebuild', '--data-dir', data_dir, '--json']);
  t.is(await wrong.ended(), exitCodes.damaged, wrong.errors());
  const [first] = wrong.output().split('\n');
  t.like(JSON.parse(first ?? ''), {
    table: 'job',
    kind: 'differs',
    columns: { description: { found: 'another', right: '' } },
  });
});

test.serial('files of another version or that are not there are refused, not compared', async (t) => {
  const [readModel, history] = altered('version', (db) =>
    db.exec("UPDATE projection SET version = 99 WHERE name = 'jobs'"),
  );
  await t.throwsAsync(compared(readModel, history), { message: /has version 99 of projection "jobs"/ });
  await t.throwsAsync(compared(join(directory, 'nowhere.sqlite'), history), {
    message: /nowhere\.sqlite" does not exist/,
  });
});

test.serial(
  'files that a power cut emptied, cut short or mixed up are findings, each beside what is said of the other',
  async (t) => {
    const live = join(directory, 'whole');
    cpSync(data_dir, live, { recursive: true });
    const damages: [file: string, spoil: (path: string) => void, why: RegExp][] = [
      ['read-model.sqlite', (path) => truncateSync(path, 0), /it is empty/],
      ['history.sqlite', (path) => truncateSync(path, 0), /it is empty/],
      ['read-model.sqlite', (path) => truncateSync(path, 4_096 * 3), /malformed|no table|short read|I\/O/],
      ['history.sqlite', (path) => writeFileSync(path, 'Dear diary, '.repeat(1_000)), /not a database/],
      ['read-model.sqlite', (path) => writeFileSync(path, Buffer.alloc(8_192)), /not a database|no table/],
      [
        'read-model.sqlite',
        (path) => {
          const db = new Database(path);
          db.exec('DROP TABLE queued');
          db.close();
        },
        /no such table: queued/,
      ],
    ];
    for (const [n, [file, spoil, why]] of damages.entries()) {
      const spoilt = join(directory, `spoilt-${n}`);
      cpSync(live, spoilt, { recursive: true });
      for (const suffix of ['-wal', '-shm']) rmSync(join(spoilt, file + suffix), { force: true });
      spoil(join(spoilt, file));
      const { files } = await compared(join(spoilt, 'read-model.sqlite'), join(spoilt, 'history.sqlite'));
      const [damaged, whole] = [files.filter((one) => 'damage' in one), files.filter((one) => 'rows' in one)];
      t.deepEqual([damaged.length, whole.length], [1, 1], `${n}`);
      t.true(damaged[0]?.file.endsWith(file));
      t.regex((damaged[0] as { damage: string }).damage, why);
    }
    const told = startMemoir(['audit', 'rebuild', '--data-dir', join(directory, 'spoilt-0')]);
    t.is(await told.ended(), exitCodes.damaged, told.errors());
    t.regex(told.output(), /^DAMAGED: \S+read-model\.sqlite cannot be compared: it is empty/);
    t.regex(told.output(), /history\.sqlite at position \d+: \d+ rows, 0 differ/);
  },
);
