import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import Table from 'cli-table3';
import { openReadModel } from '../projections/read-model/read-model.js';
import { sqliteUrl } from '../src/eventstore/open-store.js';
import { openSqliteLog, openSqliteStore } from '../src/eventstore/sqlite/store.js';
import { writeHistory } from './history.js';
import { inItsOwnProcess, type Measured, measureHere } from './own-process.js';

// How fast are fresh projections brought to the end of a log, and in how much memory? Beside it, in the same run: the same number
// of rows inserted into one bare table of SQLite, and the same events read and parsed as JSON without anything done with them.
//
//     node build/bench/replay.js [events, 1000000 unless given]
//
// Each measurement is a process of its own, so that the peak of its memory is its own.

const measurements: Record<string, (directory: string, events: number) => Promise<void>> = {
  async replay(directory) {
    const log = join(directory, 'events.sqlite');
    const store = await openSqliteStore(log, Date.now);
    const readModel = await openReadModel(sqliteUrl(log), join(directory, 'read-model.sqlite'));
    await readModel.caughtUp();
    await readModel.close();
    await store.close();
  },
  async insert(directory, events) {
    const db = new Database(join(directory, 'bare.sqlite'));
    db.pragma('journal_mode = WAL');
    db.pragma('synchronous = NORMAL');
    db.exec('CREATE TABLE bare (position INTEGER PRIMARY KEY, stream TEXT, data TEXT) STRICT');
    const insert = db.prepare('INSERT INTO bare VALUES (?, ?, ?)');
    const stream = 'job-6474a05f-fc92-48bb-bbc8-600098820550';
    const data = 'x'.repeat(500);
    const batch = db.transaction((first: number, end: number) => {
      for (let i = first; i < end; i++) insert.run(i, stream, data);
    });
    for (let i = 0; i < events; i += 1_000) batch(i, Math.min(events, i + 1_000));
    db.close();
  },
  async parse(directory) {
    const log = openSqliteLog(join(directory, 'events.sqlite'));
    for await (const { events, live } of log.subscribeAll()) {
      for (const { data } of events) JSON.parse(data);
      if (live) break;
    }
    await log.close();
  },
};

async function main(events: number): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-replay-'));
  try {
    const jobs = await writeHistory(join(directory, 'events.sqlite'), events);
    const logMb = statSync(join(directory, 'events.sqlite')).size / 1024 ** 2;
    const [replay, insert, parse] = ['replay', 'insert', 'parse'].map((name) =>
      inItsOwnProcess(import.meta.url, [name, directory, String(events)]),
    );
    if (!replay || !insert || !parse) return;
    const readModelMb = statSync(join(directory, 'read-model.sqlite')).size / 1024 ** 2;
    const rate = ({ seconds }: Measured) => Math.round(events / seconds);
    const table = new Table({
      head: ['what', 'events/s', 'seconds', 'CPU s', 'peak RSS, MiB'],
      style: { head: [], border: [] },
    });
    const row = (what: string, one: Measured) =>
      table.push([
        what,
        rate(one).toLocaleString('en'),
        one.seconds.toFixed(1),
        one.cpuSeconds.toFixed(1),
        one.peakMb.toFixed(0),
      ]);
    row('replay into fresh projections', replay);
    row('yardstick: bare inserts', insert);
    row('yardstick: read and JSON.parse', parse);
    console.log(
      `${events.toLocaleString('en')} events of ${jobs.toLocaleString('en')} jobs, a log of ${logMb.toFixed(0)} MiB`,
    );
    console.log(table.toString());
    const result = { events, jobs, logMb, readModelMb, replay, insert, parse, eventsPerSecond: rate(replay) };
    console.log(JSON.stringify({ ...result, ofBareInserts: insert.seconds / replay.seconds }));
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const [first = '1000000', directory, events] = process.argv.slice(2);
if (directory) await measureHere(async () => measurements[first]?.(directory, Number(events)));
else if (/^[1-9]\d*$/.test(first)) await main(Number(first));
else throw new Error(`${first} is no number of events`);
