import { hash } from 'node:crypto';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import Table from 'cli-table3';
import { logTree } from '../projections/history/log-tree.js';
import { openReadModelFile } from '../projections/running/database.js';
import { runProjections } from '../projections/running/runner.js';
import { openSqliteLog } from '../src/eventstore/sqlite/store.js';
import { openKeptTree } from '../src/history/verify/kept-tree.js';
import { sqliteSource } from '../src/history/verify/log-source.js';
import { verifyLog } from '../src/history/verify/verify-log.js';
import { writeHistory } from './history.js';
import { inItsOwnProcess, type Measured, measureHere } from './own-process.js';

// How fast is a log verified, and in how much memory? Beside it, in the same run: its rows read by SQLite without anything done with
// them, and SHA-256 over the same rows, both in one thread. And what the tree costs for each event where a server keeps it.
//
//     node build/bench/verify.js [events, 1000000 unless given]
//
// Each measurement is a process of its own, so that the peak of its memory is its own.

const logOf = (directory: string) => join(directory, 'events.sqlite');
const historyOf = (directory: string) => join(directory, 'history.sqlite');

async function follow(directory: string, path: string, projections: readonly (typeof logTree)[]): Promise<void> {
  const log = openSqliteLog(logOf(directory));
  const db = openReadModelFile(path, projections);
  const stop = new AbortController();
  const onApplied = ({ live }: { readonly live: boolean }) => live && stop.abort();
  await runProjections(log, db, projections, { signal: stop.signal, onApplied });
  db.close();
  await log.close();
}

async function verify(directory: string, threads: number, withKept: boolean): Promise<void> {
  const kept = withKept ? openKeptTree(historyOf(directory)) : undefined;
  const source = sqliteSource(logOf(directory), { threads });
  const found = await verifyLog(source, { held: [], keys: [], kept });
  if (found.damage.length > 0 || (withKept && found.kept !== 'agrees')) throw new Error('the log is damaged');
  await source.close();
  kept?.close();
}

function readRows(directory: string, take: (row: readonly unknown[]) => void): void {
  const db = new Database(logOf(directory), { readonly: true });
  const rows = db.prepare('SELECT * FROM event ORDER BY position').raw();
  for (const row of rows.iterate() as IterableIterator<readonly unknown[]>) take(row);
  db.close();
}

const nothing = { ...logTree, name: 'nothing', tables: [], schema: 'SELECT 1', prepareBatch: () => () => undefined };

const measurements: Record<string, (directory: string) => Promise<void> | void> = {
  'keep the tree': (directory) => follow(directory, historyOf(directory), [logTree]),
  'yardstick: follow the log': (directory) => follow(directory, join(directory, 'nothing.sqlite'), [nothing]),
  'verify, 2 threads, with the kept tree': (directory) => verify(directory, 2, true),
  'verify, 2 threads': (directory) => verify(directory, 2, false),
  'verify, 1 thread': (directory) => verify(directory, 1, false),
  'yardstick: read the rows': (directory) => readRows(directory, () => undefined),
  'yardstick: read and SHA-256': (directory) =>
    readRows(directory, (row) => void hash('sha256', row.join('\n'), 'binary')),
};

async function main(events: number): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-verify-'));
  try {
    await writeHistory(logOf(directory), events);
    const logMb = statSync(logOf(directory)).size / 1024 ** 2;
    const measured = Object.keys(measurements).map((name): [string, Measured] => [
      name,
      inItsOwnProcess(import.meta.url, [name, directory]),
    ]);
    const table = new Table({
      head: ['what', 'events/s', 'seconds', 'CPU µs an event', 'peak RSS, MiB'],
      style: { head: [], border: [] },
      colAligns: ['left', 'right', 'right', 'right', 'right'],
    });
    for (const [name, { seconds, cpuSeconds, peakMb }] of measured) {
      table.push([
        name,
        Math.round(events / seconds).toLocaleString('en'),
        seconds.toFixed(1),
        ((cpuSeconds * 1e6) / events).toFixed(2),
        peakMb.toFixed(0),
      ]);
    }
    const treeMb = statSync(historyOf(directory)).size / 1024 ** 2;
    const sizes = `a log of ${logMb.toFixed(0)} MiB, a kept tree of ${treeMb.toFixed(0)} MiB`;
    console.log(`${events.toLocaleString('en')} events, ${sizes}`);
    console.log(table.toString());
    console.log(JSON.stringify({ events, logMb, treeMb, ...Object.fromEntries(measured) }));
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const [first = '1000000', directory] = process.argv.slice(2);
if (directory) await measureHere(async () => measurements[first]?.(directory));
else if (/^[1-9]\d*$/.test(first)) await main(Number(first));
else throw new Error(`${first} is no number of events`);
