import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { openReadModel } from '../projections/read-model/read-model.js';
import { systemEdge } from '../src/edge.js';
import { openImporter, openLogToExport, openStore, sqliteUrl, storeKind } from '../src/eventstore/open-store.js';
import { importLog } from '../src/eventstore/transfer/import-log.js';
import { openExport } from '../src/eventstore/transfer/open-export.js';
import { exportOf } from '../src/eventstore/transfer/write-export.js';
import { writeFile } from '../src/eventstore/transfer/write-file.js';
import { startDoubleProcess } from '../test/support/kurrentdb-double/process.js';
import { writeHistory } from './history.js';
import { inItsOwnProcess, type Measured, measureHere } from './own-process.js';
import { table } from './table.js';

// How fast does each adapter append, read and replay a log, and how fast does a log go to a file and come from it, in how much
// memory? Beside it, in the same run: the rows of the log copied into another table without anything done with them.
//
//     node build/bench/transfer.js [events, 1000000 unless given] [events for KurrentDB, a tenth of it unless given]
//
// KurrentDB is the test double in a process of its own, which keeps everything in memory and is written in TypeScript: this measures
// the adapter, the client and the protocol. With MEMOIR_TEST_KURRENTDB it is the server of that URL, which must be empty.

/** Appends of one event, so many at a time. */
const appends = 20_000;
const abreast = 64;

type Measurement = (url: string, directory: string) => Promise<void>;

const file = (directory: string, compression: string) => join(directory, `log.${compression}`);

async function exportTo(url: string, directory: string, compression: 'none' | 'gzip'): Promise<void> {
  const log = await openLogToExport(url, systemEdge);
  const bytes = exportOf(log, { store: storeKind(url), serverVersion: '0', exportedAt: new Date().toISOString() });
  await writeFile(file(directory, compression), bytes, { compression, force: true, unique: randomUUID() });
  await log.close();
}

const measurements: Record<string, Measurement> = {
  export: (url, directory) => exportTo(url, directory, 'none'),
  exportGzip: (url, directory) => exportTo(url, directory, 'gzip'),
  async import(url, directory) {
    const from = await openExport(file(directory, 'none'), { directory, unique: randomUUID() });
    const importer = await openImporter(url, systemEdge);
    await importLog(from, importer);
    await importer.close();
    await from.close();
  },
  async read(url) {
    const log = await openLogToExport(url, systemEdge);
    for await (const { live } of log.subscribeAll()) if (live) break;
    await log.close();
  },
  async replay(url, directory) {
    const store = await openStore(url, systemEdge);
    const readModel = await openReadModel(url, join(directory, `${storeKind(url)}-read-model.sqlite`));
    await readModel.caughtUp();
    await readModel.close();
    await store.close();
  },
  async append(url) {
    const store = await openStore(url, systemEdge);
    const own = randomUUID();
    let left = appends;
    await Promise.all(
      Array.from({ length: abreast }, async (_, i) => {
        for (let n = 0; left-- > 0; n++) {
          const data = JSON.stringify({ progress: n / 7, message: 'x'.repeat(400) });
          const event = {
            id: randomUUID(),
            type: 'JobProgressed',
            data,
            metadata: '{"principal":"bench","requestId":"r"}',
          };
          await store.append(`job-${own}-${i}`, n === 0 ? 'no_stream' : n - 1, [event]);
        }
      }),
    );
    await store.close();
  },
  async copy(url, directory) {
    const db = new Database(join(directory, 'copy.sqlite'));
    db.pragma('journal_mode = WAL');
    db.pragma('synchronous = FULL');
    db.prepare('ATTACH ? AS log').run(url.slice('sqlite:'.length));
    db.exec('CREATE TABLE event AS SELECT * FROM log.event LIMIT 0');
    db.exec('CREATE UNIQUE INDEX event_stream ON event (stream, revision)');
    const copy = db.prepare('INSERT INTO event SELECT * FROM log.event WHERE position BETWEEN ? AND ?');
    const end = db.prepare('SELECT max(position) FROM log.event').pluck().get() as number;
    for (let i = 1; i <= end; i += 1_000) copy.run(i, i + 999);
    db.close();
  },
};

type Run = (what: string, measurement: string, url: string, directory: string, events: number) => void;

/** A log of that many events in a directory of its own. */
async function logIn(directory: string, events: number): Promise<string> {
  mkdirSync(directory);
  const log = join(directory, 'events.sqlite');
  await writeHistory(log, events);
  return log;
}

async function measureSqlite(directory: string, events: number, run: Run): Promise<string> {
  const log = await logIn(directory, events);
  const url = sqliteUrl(log);
  run('SQLite: export', 'export', url, directory, events);
  const [logMb, fileMb] = [log, file(directory, 'none')].map((path) => (statSync(path).size / 1024 ** 2).toFixed(0));
  run('SQLite: export, gzip', 'exportGzip', url, directory, events);
  run('SQLite: import', 'import', sqliteUrl(join(directory, 'imported.sqlite')), directory, events);
  run('yardstick: rows copied by SQLite', 'copy', url, directory, events);
  run('SQLite: read to the end', 'read', url, directory, events);
  run('SQLite: replay into fresh projections', 'replay', url, directory, events);
  run(`SQLite: append, ${abreast} at a time`, 'append', url, directory, appends);
  return `SQLite: ${events.toLocaleString('en')} events, a log of ${logMb} MiB, a file of ${fileMb} MiB`;
}

async function measureKurrent(directory: string, events: number, run: Run): Promise<string> {
  const real = process.env.MEMOIR_TEST_KURRENTDB;
  const double = real === undefined ? await startDoubleProcess() : undefined;
  try {
    const url = real ?? double?.url ?? '';
    const name = double ? 'KurrentDB adapter on the double' : 'KurrentDB';
    await exportTo(sqliteUrl(await logIn(directory, events)), directory, 'none');
    run(`${name}: import`, 'import', url, directory, events);
    // The double has made every answer for the import, which reads what it wrote, and makes each but once.
    run(`${name}: read to the end`, 'read', url, directory, events);
    run(`${name}: replay into fresh projections`, 'replay', url, directory, events);
    run(`${name}: export`, 'export', url, directory, events);
    run(`${name}: append, ${abreast} at a time`, 'append', url, directory, appends);
    return `${name}: ${events.toLocaleString('en')} events`;
  } finally {
    await double?.stop();
  }
}

async function main(sqliteEvents: number, kurrentEvents: number): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-transfer-'));
  const rows: string[][] = [];
  const results: Record<string, Measured> = {};
  const run: Run = (what, measurement, url, of, events) => {
    const one = inItsOwnProcess(import.meta.url, [measurement, url, of]);
    results[what] = one;
    const rate = Math.round(events / one.seconds).toLocaleString('en');
    rows.push([what, rate, one.seconds.toFixed(1), one.cpuSeconds.toFixed(1), one.peakMb.toFixed(0)]);
  };
  try {
    console.log(await measureSqlite(join(directory, 'sqlite'), sqliteEvents, run));
    console.log(await measureKurrent(join(directory, 'kurrentdb'), kurrentEvents, run));
    console.log(table(['what', 'events/s', 'seconds', 'CPU s', 'peak RSS, MiB'], rows));
    console.log(JSON.stringify({ sqliteEvents, kurrentEvents, results }));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const [first = '1000000', second = String(Math.ceil(Number(first) / 10)), third] = process.argv.slice(2);
const measurement = Object.hasOwn(measurements, first) ? measurements[first] : undefined;
if (measurement && third !== undefined) await measureHere(() => measurement(second, third));
else if (/^[1-9]\d*$/.test(first) && /^[1-9]\d*$/.test(second)) await main(Number(first), Number(second));
else throw new Error(`${first} and ${second} are no numbers of events`);
