import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { allProjections } from '../projections/all.js';
import { savingQueries, savings } from '../projections/read-model/savings/savings.js';
import { openReadModelFile } from '../projections/running/database.js';
import { runProjections } from '../projections/running/runner.js';
import { unrestricted } from '../src/domain/access.js';
import { openSqliteLog } from '../src/eventstore/sqlite/store.js';
import { savingsUpTo } from '../src/jobs/reading/savings.js';
import { writeHistory } from './history.js';
import { inItsOwnProcess, measureHere } from './own-process.js';
import { percentile } from './percentile.js';
import { table } from './table.js';

// What the projection of savings costs: processor time an event of all projections of the read model with it, beside the same without it, in
// turns over one log, each in a process of its own. Then how long a question takes of all that was saved, by script, beside one plain sum over as many rows.
//
//     node build/bench/savings.js [events, 200000 unless given] [turns, 3 unless given]

const ways = ['with', 'without'] as const;

async function replay(way: string, directory: string): Promise<void> {
  const log = openSqliteLog(join(directory, 'events.sqlite'));
  const projections = way === 'with' ? allProjections : allProjections.filter((one) => one !== savings);
  const path = join(directory, `${way}.sqlite`);
  for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { force: true });
  const db = openReadModelFile(path, projections);
  const stop = new AbortController();
  await runProjections(log, db, projections, {
    signal: stop.signal,
    onApplied({ live }) {
      if (live) stop.abort();
    },
  });
  db.close();
  await log.close();
}

async function ask(directory: string): Promise<void> {
  const db = openReadModelFile(join(directory, 'with.sqlite'), allProjections);
  const reads = savingQueries(db);
  const count = db.prepare('SELECT count(*) FROM saving').pluck().get() as number;
  const all = { firstDay: Number.MIN_SAFE_INTEGER, lastDay: Number.MAX_SAFE_INTEGER };
  const timed = async (work: () => unknown) => {
    const times: number[] = [];
    for (let i = 0; i < 20; i++) {
      const before = performance.now();
      await work();
      times.push(performance.now() - before);
    }
    return [0.5, 0.99].map((part) => percentile(times, part).toFixed(1));
  };
  const access = unrestricted('ada');
  const by = new Set(['script'] as const);
  const question = () => savingsUpTo({ savings: reads }, access, { by, ...all }, Number.MAX_SAFE_INTEGER);
  const plain = db.prepare('SELECT party, kind, sum(ms) FROM saving GROUP BY party, kind');
  console.log(
    table(
      [`of ${count.toLocaleString('en')} entries`, 'p50 ms', 'p99 ms'],
      [
        ['GetSavings by script', ...(await timed(question))],
        ['yardstick: one sum over all entries', ...(await timed(() => plain.all()))],
      ],
    ),
  );
  db.close();
}

async function main(events: number, turns: number): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-savings-'));
  try {
    await writeHistory(join(directory, 'events.sqlite'), events);
    const micros: Record<(typeof ways)[number], number[]> = { with: [], without: [] };
    for (let turn = 0; turn < turns; turn++) {
      for (const way of turn % 2 === 0 ? ways : ways.toReversed()) {
        const { cpuSeconds } = inItsOwnProcess(import.meta.url, [way, directory]);
        micros[way].push((cpuSeconds / events) * 1e6);
      }
    }
    const rows = ways.map((way) => [
      `${way} savings`,
      micros[way].map((one) => one.toFixed(2)).join(' '),
      percentile(micros[way], 0.5).toFixed(2),
    ]);
    console.log(table([`${events.toLocaleString('en')} events`, 'processor µs an event, each turn', 'median'], rows));
    await ask(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const [first = '200000', second = '3'] = process.argv.slice(2);
if (first === 'with' || first === 'without') await measureHere(() => replay(first, second));
else if (/^[1-9]\d*$/.test(first)) await main(Number(first), Number(second));
else throw new Error(`${first} is no number of events`);
