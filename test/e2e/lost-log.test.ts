import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import Database from 'better-sqlite3';
import { pino } from 'pino';
import { startMemoir } from '../../demo/program.js';
import { pastFiles } from '../../projections/history/as-of.js';
import { openCheckpoint } from '../../src/domain/log-tree/checkpoint.js';
import { parseVerifierKey } from '../../src/domain/log-tree/verifier-key.js';
import { generationStream } from '../../src/domain/streams.js';
import { type Edge, systemEdge } from '../../src/edge.js';
import { judged } from '../../src/eventstore/foreign.js';
import type { GuardedStore } from '../../src/eventstore/format-guard.js';
import { type EventLog, LogRefused, type RecordedEvent } from '../../src/eventstore/port.js';
import { checksum } from '../../src/eventstore/sqlite/checksum.js';
import { openCheckpointKey } from '../../src/history/checkpoint-key.js';
import { openKeptTree } from '../../src/history/verify/kept-tree.js';
import { type RunningServer, startServer } from '../../src/main.js';
import { unfinishedAcceptance } from '../../src/serving/acceptance.js';
import { readKeptCheckpoint } from '../../src/serving/kept-checkpoint.js';
import { openServersLog } from '../../src/serving/open-log.js';
import type { Accepted } from '../../src/serving/opening.js';
import { makeProject } from '../support/project.js';
import { failure } from '../support/refused.js';
import { find, request } from '../support/runs.js';
import { test } from '../support/serial.js';
import { type Clients, clientsOf, startTestServer, testConfig } from '../support/server.js';
import { startServerProcess } from '../support/server-process.js';
import { until } from '../support/until.js';

// What a server does on a log that lost what was acknowledged. All begin with one data directory that a killed server left, in which
// the kept files knew all of the log, and with a copy of its log from before.

const project = makeProject();
const scratch = mkdtempSync(join(tmpdir(), 'memoir-lost-'));
const left = join(scratch, 'left');
const silent = pino({ level: 'silent' });
const base = testConfig({ repositories: { project: project.repository.path } });
let token = '';

test.before(async () => {
  mkdirSync(left);
  const config = { ...base, data_dir: left, checkpoint_interval: 0 };
  const requests = async (address: string, count: number) => {
    const ada = clientsOf(address, 'ada');
    for (let i = 0; i < count; i++)
      ({ consistencyToken: token } = await request(ada, { description: 'x'.repeat(2_000) }));
    // The kept files come as far as the log.
    await ada.jobs.getQueueSize({ consistencyToken: token });
    await ada.jobs.listJobs({ asOf: { moment: { case: 'position', value: BigInt(token) } } });
    ada.close();
  };
  for (const count of [3, 20]) {
    const server = await startServerProcess(config);
    await requests(server.address, count);
    await server.terminate();
    if (count === 3) copyFileSync(join(left, 'events.sqlite'), join(scratch, 'older.sqlite'));
  }
  const server = await startServerProcess(config);
  await requests(server.address, 10);
  await until('the last checkpoint is kept', () => readKeptCheckpoint(join(left, lastCheckpoint))?.position === 33);
  await server.kill();
});

test.after.always(() => {
  project.repository.dispose();
  rmSync(scratch, { recursive: true, force: true });
  rmSync(base.data_dir, { recursive: true, force: true });
});

let copies = 0;

/** A copy of what was left, after `spoil`. */
function spoilt(spoil: (directory: string, log: string) => void): string {
  const directory = join(scratch, `copy-${copies++}`);
  cpSync(left, directory, { recursive: true });
  spoil(directory, join(directory, 'events.sqlite'));
  return directory;
}

function start(directory: string, accepted: Accepted = {}, settings = {}): Promise<RunningServer> {
  return startServer({ ...base, data_dir: directory, ...settings }, systemEdge, silent, accepted);
}

/** All files, but for locks, and for the index of a WAL and an empty WAL, which SQLite makes for whoever reads. */
function contents(directory: string): Map<string, string> {
  const names = readdirSync(directory).filter((name) => !/\.lock|-shm$/.test(name) && !name.startsWith('git'));
  const files = names.filter((name) => {
    const there = statSync(join(directory, name), { throwIfNoEntry: false });
    return there?.isFile() && (there.size > 0 || !name.endsWith('-wal'));
  });
  return new Map(files.map((name) => [name, readFileSync(join(directory, name)).toString('base64')]));
}

function flip(file: string, at: number): void {
  writeSync(openSync(file, 'r+'), Buffer.from([readFileSync(file).readUInt8(at) ^ 4]), 0, 1, at);
}

function forget(directory: string, ...names: readonly string[]): void {
  for (const name of names)
    for (const suffix of ['', '-wal', '-shm']) rmSync(join(directory, name + suffix), { force: true });
}

/** A file as SQLite makes it before the first transaction is copied into it. */
function withoutTables(log: string): void {
  const db = new Database(log);
  db.pragma('journal_mode = WAL');
  db.close();
}

const middle = (log: string) => Math.floor(statSync(`${log}-wal`).size / 2);
const lastCheckpoint = 'log.checkpoint';
const projections = ['read-model.sqlite', 'history.sqlite'];
const keptFiles = [...projections, lastCheckpoint];

type Case = {
  readonly name: string;
  readonly spoil: (directory: string, log: string) => void;
  readonly reason: 'SHORTER_LOG' | 'LOG_MISSING' | 'OTHER_LOG';
  readonly message: RegExp;
};

const cases: readonly Case[] = [
  {
    name: 'a bit of the -wal flipped',
    spoil: (_, log) => flip(`${log}-wal`, middle(log)),
    reason: 'SHORTER_LOG',
    message: /its -shm tells of \d+ committed frames/,
  },
  {
    name: 'a bit of the -wal flipped, and nothing else is left',
    spoil(directory, log) {
      flip(`${log}-wal`, middle(log));
      forget(directory, ...keptFiles);
      rmSync(`${log}-shm`);
    },
    reason: 'SHORTER_LOG',
    message: /frame \d+ of its -wal is not what was written, and committed writes follow it/,
  },
  {
    name: 'the -wal was cut',
    spoil(_, log) {
      truncateSync(`${log}-wal`, middle(log));
      rmSync(`${log}-shm`);
    },
    reason: 'SHORTER_LOG',
    message: /lost its end: it ends at position \d+, and the (read model|history) .* knows it up to position 33 /,
  },
  {
    name: 'the -wal was cut, and only the last checkpoint is left',
    spoil(directory, log) {
      truncateSync(`${log}-wal`, middle(log));
      rmSync(`${log}-shm`);
      forget(directory, ...projections);
    },
    reason: 'SHORTER_LOG',
    message:
      /lost its end: it ends at position \d+, and the checkpoint ".*log\.checkpoint" knows it up to position 33 /,
  },
  {
    name: 'the -wal is missing',
    spoil(_, log) {
      rmSync(`${log}-wal`);
    },
    reason: 'SHORTER_LOG',
    message: /its -wal is missing or empty/,
  },
  {
    name: 'the -wal and its index are missing',
    spoil(_, log) {
      rmSync(`${log}-wal`);
      rmSync(`${log}-shm`);
    },
    reason: 'SHORTER_LOG',
    message: /knows it up to position 33 /,
  },
  {
    name: 'the log is missing',
    spoil: (directory) => forget(directory, 'events.sqlite'),
    reason: 'LOG_MISSING',
    message: /events\.sqlite" is not there, and the read model .* shows that there was one/,
  },
  {
    name: 'the log is missing, its -wal is there',
    spoil(directory, log) {
      rmSync(log);
      forget(directory, ...keptFiles, 'checkpoint.key');
    },
    reason: 'LOG_MISSING',
    message: /is not there, and ".*events\.sqlite-wal" shows/,
  },
  {
    name: 'the log is empty',
    spoil(directory, log) {
      forget(directory, 'events.sqlite');
      copyFileSync('/dev/null', log);
    },
    reason: 'LOG_MISSING',
    message: /events\.sqlite" is empty, and the read model/,
  },
  {
    name: 'a first log was copied without its -wal, which had all of it',
    spoil: (directory, log) => {
      forget(directory, 'events.sqlite');
      withoutTables(log);
    },
    reason: 'LOG_MISSING',
    message:
      /events\.sqlite" has nothing of a log in it, as a copy without its -wal, and the read model .* shows that there was one/,
  },
  {
    name: 'a first log was copied without its -wal, and only the key is left',
    spoil: (directory, log) => {
      forget(directory, 'events.sqlite', ...keptFiles);
      withoutTables(log);
    },
    reason: 'LOG_MISSING',
    message: /has nothing of a log in it.*checkpoint\.key" shows/,
  },
  {
    name: 'the log is a link to nothing',
    spoil(directory, log) {
      forget(directory, 'events.sqlite');
      symlinkSync('/nowhere/events.sqlite', log);
    },
    reason: 'LOG_MISSING',
    message: /is a link to "\/nowhere\/events\.sqlite", which is not there, and the read model/,
  },
  {
    name: 'only the key is left, as of a volume that is not mounted',
    spoil: (directory) => forget(directory, 'events.sqlite', ...keptFiles),
    reason: 'LOG_MISSING',
    message: /is not there, and ".*checkpoint\.key" shows that there was one: is its volume mounted\?/,
  },
  {
    name: 'an older copy',
    spoil(directory, log) {
      forget(directory, 'events.sqlite');
      copyFileSync(join(scratch, 'older.sqlite'), log);
    },
    reason: 'SHORTER_LOG',
    message: /lost its end: it ends at position 3, and the/,
  },
  {
    name: 'an older copy, and only the last checkpoint is left',
    spoil(directory, log) {
      forget(directory, 'events.sqlite', ...projections);
      copyFileSync(join(scratch, 'older.sqlite'), log);
    },
    reason: 'SHORTER_LOG',
    message: /lost its end: it ends at position 3, and the checkpoint/,
  },
  {
    name: 'an older copy beside the newer -wal',
    spoil(directory, log) {
      copyFileSync(join(scratch, 'older.sqlite'), log);
      rmSync(`${log}-shm`);
      forget(directory, ...keptFiles);
    },
    reason: 'SHORTER_LOG',
    message: /its -wal is of another file than this/,
  },
];

for (const { name, spoil, reason, message } of cases) {
  test(`refused, and left as it is: ${name}`, async (t) => {
    const directory = spoilt(spoil);
    const before = contents(directory);
    const error = await t.throwsAsync(start(directory), { instanceOf: LogRefused });
    t.is(error?.reason, reason);
    t.regex(error?.message ?? '', message);
    t.regex(error?.message ?? '', /--accept-shorter-log/);
    t.deepEqual(contents(directory), before);
    rmSync(directory, { recursive: true });
  });
}

test('a first start that was cut off before anything was recorded is begun again', async (t) => {
  const directory = mkdtempSync(join(scratch, 'cut-'));
  withoutTables(join(directory, 'events.sqlite'));
  writeFileSync(join(directory, 'events.sqlite-wal'), '');
  const server = await start(directory);
  await server.ready();
  await server.stop();
  t.true(statSync(join(directory, 'events.sqlite')).size > 4_096);
});

test('another log is refused by name, and can be accepted', async (t) => {
  const other = await startTestServer({ repositories: { project: project.repository.path } });
  for (let i = 0; i < 40; i++) await request(other.as('bob'), { scriptParameters: { i } });
  await other.stop();
  const directory = spoilt((_, log) => {
    for (const suffix of ['-wal', '-shm']) rmSync(log + suffix);
    copyFileSync(join(other.config.data_dir, 'events.sqlite'), log);
  });
  await other.dispose();
  const error = await t.throwsAsync(start(directory, { shorterLog: true }), { instanceOf: LogRefused });
  t.is(error?.reason, 'OTHER_LOG');
  t.regex(
    error?.message ?? '',
    /is another: it ends at position 40, and the .* \(event [0-9a-f-]{36}\).*--accept-other-log/,
  );
  const server = await start(directory, { otherLog: true });
  await server.ready();
  const ada = clientsOf(server.address, 'ada');
  // All of the 33 runs that were known.
  t.is((await request(ada)).job?.runNumber, 34);
  ada.close();
  await server.stop();
});

async function uuids(ada: Clients): Promise<string[]> {
  return (await ada.jobs.listJobs({ pageSize: 1_000 })).jobs.map(({ uuid }) => uuid);
}

test('a shorter log that is accepted begins a generation, once, and keeps what was known aside', async (t) => {
  const directory = spoilt((_, log) => flip(`${log}-wal`, middle(log)));
  const server = await start(directory, { shorterLog: true });
  await server.ready();
  let ada = clientsOf(server.address, 'ada');
  const there = await uuids(ada);
  t.true(there.length >= 23 && there.length < 33, `${there.length}`);
  t.is((await request(ada)).job?.runNumber, 34);
  const late = await failure(t, () => ada.jobs.getQueueSize({ consistencyToken: token }));
  t.is(late.reason, 'TOKEN_OF_EARLIER_GENERATION');
  const [aside = ''] = readdirSync(directory).filter((name) => name.startsWith('aside-'));
  const names = readdirSync(join(directory, aside));
  for (const name of ['events.sqlite-wal', ...keptFiles]) t.true(names.includes(name), `${name} of ${names}`);
  ada.close();
  await server.stop();

  // What was accepted is the log from then on.
  const again = await start(directory);
  await again.ready();
  ada = clientsOf(again.address, 'ada');
  t.is((await uuids(ada)).length, there.length + 1);
  t.is((await request(ada)).job?.runNumber, 35);
  const started = [];
  for await (const { event } of ada.history.readHistory({ principal: 'memoir' })) {
    if (event?.event.case === 'generationStarted') started.push(event.event.value);
  }
  t.is(started.length, 1);
  t.like(started[0], { generation: 2 });
  t.is(started[0]?.known?.position, 33n);
  ada.close();
  await again.stop();
});

test('a missing log that is accepted begins empty, in a generation of its own', async (t) => {
  const directory = spoilt((one) => forget(one, 'events.sqlite'));
  const server = await start(directory, { shorterLog: true });
  await server.ready();
  const ada = clientsOf(server.address, 'ada');
  t.deepEqual(await uuids(ada), []);
  t.is((await request(ada)).job?.runNumber, 34);
  ada.close();
  await server.stop();
});

/** The last checkpoint is left, and nothing that would know more. */
const foreignWal = (directory: string, log: string) => {
  copyFileSync(join(scratch, 'older.sqlite'), log);
  rmSync(`${log}-shm`);
  forget(directory, ...projections);
};

test('a log without anything that is accepted begins empty, in a generation of its own', async (t) => {
  const directory = spoilt((place, log) => {
    forget(place, 'events.sqlite');
    withoutTables(log);
  });
  const server = await start(directory, { shorterLog: true });
  await server.ready();
  await server.stop();
  const db = new Database(join(directory, 'events.sqlite'), { readonly: true });
  t.is(db.prepare("SELECT count(*) FROM event WHERE type = 'GenerationStarted'").pluck().get(), 1);
  db.close();
  rmSync(directory, { recursive: true });
});

test('a -wal of another file is moved aside whole when that is accepted', async (t) => {
  const directory = spoilt(foreignWal);
  const wal = readFileSync(join(left, 'events.sqlite-wal'));
  const server = await start(directory, { shorterLog: true });
  await server.ready();
  const ada = clientsOf(server.address, 'ada');
  t.is((await uuids(ada)).length, 3);
  t.is((await request(ada)).job?.runNumber, 4);
  ada.close();
  await server.stop();
  const [aside = ''] = readdirSync(directory).filter((name) => name.startsWith('aside-'));
  const names = readdirSync(join(directory, aside)).filter((name) => !name.endsWith('-sums'));
  t.deepEqual(names.sort(), ['events.sqlite-wal', lastCheckpoint]);
  t.true(readFileSync(join(directory, aside, 'events.sqlite-wal')).equals(wal));
});

/** The log as a server opens it, and nothing else of the server. */
async function openLog(directory: string, accepted: Accepted = {}, edge = systemEdge): Promise<GuardedStore> {
  const opening = { config: { ...base, data_dir: directory }, files: pastFiles(directory), edge, accepted };
  const keptCheckpoint = join(directory, lastCheckpoint);
  return (await openServersLog({ ...opening, keptCheckpoint, logger: silent })).store;
}

/** What servers recorded of generations, as types. */
async function generationsOf(log: EventLog): Promise<string[]> {
  const types: string[] = [];
  for await (const { type } of log.readStream(generationStream)) types.push(type);
  return types;
}

for (const [name, spoil] of [
  [
    'a -wal of another file, and nothing else is left',
    (directory: string, log: string) => {
      foreignWal(directory, log);
      forget(directory, lastCheckpoint);
    },
  ],
  ['a single event is lost', (_: string, log: string) => loseLastEvent(log)],
] as const) {
  test(`accepting that ends at any moment is finished by the next start: ${name}`, async (t) => {
    let ends = 0;
    for (let finished = false; !finished; ends++) {
      const directory = spoilt(spoil);
      const cut = await openLog(directory, { shorterLog: true }, edgeThatEndsAt(ends)).catch((error: Error) => {
        t.regex(error.message, /the end$/);
      });
      finished = cut !== undefined;
      await cut?.close();
      // What was not recorded is asked for again; what was is not.
      let store = await openLog(directory).catch((error: Error) => {
        t.true(error instanceof LogRefused, error.message);
        t.regex(error.message, /--accept-shorter-log/);
      });
      store ??= await openLog(directory, { shorterLog: true });
      const recorded = await generationsOf(store);
      t.deepEqual(
        recorded.filter((type) => type === 'GenerationStarted'),
        ['GenerationStarted'],
        `cut at ${ends}`,
      );
      await store.close();
      t.is(unfinishedAcceptance(directory), undefined);
      t.deepEqual(
        keptFiles.filter((file) => existsSync(join(directory, file))),
        [],
      );
      rmSync(directory, { recursive: true });
    }
    t.true(ends > 3, `${ends}`);
  });
}

/** Takes the last event from a log. */
function loseLastEvent(log: string): void {
  const db = new Database(log);
  db.prepare('DELETE FROM event WHERE position = 33').run();
  db.close();
}

/** The time and identifiers of this machine, until one is asked for too often. */
function edgeThatEndsAt(call: number): Edge {
  let calls = 0;
  const ending = <T>(give: () => T) => {
    if (calls++ === call) throw new Error('the end');
    return give();
  };
  return { ...systemEdge, now: () => ending(systemEdge.now), uuid: () => ending(systemEdge.uuid) };
}

test('what was accepted is moved aside by the next start where the server died in the midst of it', async (t) => {
  const directory = spoilt(foreignWal);
  copyFileSync(join(left, 'history.sqlite'), join(directory, 'history.sqlite'));
  await (await openLog(directory, { shorterLog: true })).close();
  const [aside = ''] = readdirSync(directory).filter((name) => name.startsWith('aside-'));
  const log = await openLog(directory);
  let id = '';
  for await (const recorded of log.readStream(generationStream)) {
    const { event } = judged(recorded);
    if (event?.$typeName === 'memoir.events.v1.GenerationStarted') ({ id } = event);
  }
  await log.close();
  renameSync(join(directory, aside, 'history.sqlite'), join(directory, 'history.sqlite'));
  writeFileSync(join(directory, aside, 'accepting'), `${id}\n`);
  const again = await openLog(directory);
  t.deepEqual(await generationsOf(again), ['GenerationStarted']);
  await again.close();
  t.deepEqual(
    readdirSync(join(directory, aside)).filter((name) => /^(history.sqlite|accepting)$/.test(name)),
    ['history.sqlite'],
  );
});

test('a log that was altered before its last checkpoint is refused once that is known', async (t) => {
  const directory = spoilt((one, log) => {
    // As a server that ran for some time leaves it.
    const tree = openKeptTree(join(left, 'history.sqlite'));
    const path = join(one, lastCheckpoint);
    const eventId = readKeptCheckpoint(path)?.eventId;
    const head = { size: 33, root: tree?.root(33) as Uint8Array };
    tree?.close();
    const signer = openCheckpointKey({ path: join(one, 'checkpoint.key'), make: false, origin: undefined });
    writeFileSync(path, signer.sign(head, [`memoir-last-event 33 ${eventId}`]));
    const db = new Database(log);
    db.exec("UPDATE event SET data = replace(data, 'xxx', 'yyy') WHERE position = 5");
    // As somebody does who knows of the checksums.
    const row = db.prepare('SELECT *, recorded_at AS recordedAt FROM event WHERE position = 5').get() as RecordedEvent;
    db.prepare('UPDATE event SET checksum = ? WHERE position = 5').run(checksum(row));
    db.close();
    // They are made anew from the log that was altered.
    forget(one, ...projections);
  });
  const server = await start(directory);
  const ada = clientsOf(server.address, 'ada');
  const error = await until('the log is refused', async () => {
    const answer = await ada.jobs.listJobs({}).then(
      () => undefined,
      (e: Error) => e,
    );
    return /another/.test(answer?.message ?? '') ? answer : undefined;
  });
  t.regex(error.message, /is another: its first 33 events are not those .*log\.checkpoint/);
  ada.close();
  await server.stop();
  t.is(readKeptCheckpoint(join(directory, lastCheckpoint))?.position, 33);

  const accepted = await start(directory, { otherLog: true });
  await accepted.ready();
  const bob = clientsOf(accepted.address, 'bob');
  t.is((await request(bob)).job?.runNumber, 34);
  bob.close();
  await accepted.stop();
  await (await start(directory)).stop();
});

for (const [name, take] of [
  ['removed', (log: string) => rmSync(log)],
  ['exchanged', (log: string) => cpSync(join(scratch, 'older.sqlite'), `${log}.new`)],
  ['robbed of its -wal', (log: string) => rmSync(`${log}-wal`)],
] as const) {
  test(`a log that is ${name} under a running server acknowledges nothing more`, async (t) => {
    const directory = spoilt(() => undefined);
    const server = await start(directory);
    await server.ready();
    const ada = clientsOf(server.address, 'ada');
    await request(ada);
    const log = join(directory, 'events.sqlite');
    take(log);
    if (name === 'exchanged') execFileSync('mv', [`${log}.new`, log]);
    for (const call of [() => request(ada), () => find(ada), () => ada.jobs.listJobs({})]) {
      const error = await failure(t, call);
      t.is(error.reason, 'LOG_REPLACED');
      t.regex(error.message, /events\.sqlite(-wal)?" was removed or exchanged while the server ran/);
    }
    ada.close();
    await server.stop();
  });
}

test('a log that is removed is noticed by a server that has nothing to write', async (t) => {
  const directory = spoilt(() => undefined);
  const server = await start(directory);
  await server.ready();
  const ada = clientsOf(server.address, 'ada');
  rmSync(join(directory, 'events.sqlite'));
  const error = await until('the loss is noticed', () =>
    ada.jobs.listJobs({}).then(
      () => undefined,
      (e: Error) => e,
    ),
  );
  t.regex(error.message, /was removed or exchanged/);
  ada.close();
  await server.stop();
});

test('the root of the log is kept once it has stood for some time', async (t) => {
  let later = 0;
  const edge = { ...systemEdge, monotonic: () => systemEdge.monotonic() + later };
  const server = await startTestServer({ repositories: { project: project.repository.path }, edge });
  t.teardown(() => server.dispose());
  const path = join(server.config.data_dir, lastCheckpoint);
  await request(server.as('ada'));
  await until('the place is kept', () => readKeptCheckpoint(path)?.position === 1);
  t.is(readKeptCheckpoint(path)?.size, 0);
  const { root, key } = await server.as('ada').audit.getCheckpoint({});
  later = 11 * 60_000;
  const kept = await until('the root is kept', () => {
    const found = readKeptCheckpoint(path);
    return found && found.size > 0 ? found : undefined;
  });
  t.is(kept.size, 1);
  t.deepEqual(Buffer.from(kept.root), Buffer.from(root));
  // As memoir audit verify --checkpoint takes it.
  t.is(openCheckpoint(readFileSync(path, 'utf8'), [parseVerifierKey(key)]).size, 1);
});

test('a place that can hold no log is told at once, by a server that ends', async (t: ExecutionContext) => {
  const pipe = join(scratch, 'pipe');
  execFileSync('mkfifo', [pipe]);
  const places: readonly (readonly [args: readonly string[], message: RegExp])[] = [
    [['--data-dir', '/proc/x'], /"\/proc\/x"|\/proc\/x/],
    [
      ['--data-dir', join(scratch, 'fifo'), '--store', `sqlite:${pipe}`],
      /pipe" cannot be opened: it is a pipe, a socket or a device/,
    ],
  ];
  for (const [args, message] of places) {
    const serve = startMemoir(['serve', ...args, '--listen', '127.0.0.1:0']);
    t.is(await serve.ended(), 2, args.join(' '));
    t.regex(serve.errors(), message);
  }
});
