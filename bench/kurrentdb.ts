import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemEdge } from '../src/edge.js';
import { openStore, sqliteUrl } from '../src/eventstore/open-store.js';
import type { EventStore, NewEvent } from '../src/eventstore/port.js';
import { startDoubleProcess } from '../test/support/kurrentdb-double/process.js';
import { table } from './table.js';

// How fast does the KurrentDB adapter append and replay? Beside it, in the same run: the embedded store on this machine's disk.
//
//     node build/bench/kurrentdb.js [events to replay, 100000 unless given]
//
// The server is the test double in a process of its own, which keeps everything in memory and is written in TypeScript, so this
// measures the adapter, the client and the protocol. With MEMOIR_TEST_KURRENTDB it is the server of that URL.

const events = Number(process.argv[2] ?? 100_000);
const concurrencies = [1, 8, 64, 256];
const seconds = 3;

function event(i: number): NewEvent {
  const data = JSON.stringify({ uuid: randomUUID(), progress: i / 7, message: 'x'.repeat(400) });
  return { id: randomUUID(), type: 'JobProgressed', data, metadata: '{"principal":"bench","requestId":"r"}' };
}

async function appendsPerSecond(store: EventStore, concurrency: number): Promise<number> {
  const own = randomUUID();
  const end = performance.now() + seconds * 1_000;
  let count = 0;
  const start = performance.now();
  await Promise.all(
    Array.from({ length: concurrency }, async (_, i) => {
      for (let n = 0; performance.now() < end; n++, count++) {
        await store.append(`job-${own}-${i}`, n === 0 ? 'no_stream' : n - 1, [event(n)]);
      }
    }),
  );
  return count / ((performance.now() - start) / 1_000);
}

async function fill(store: EventStore): Promise<number> {
  const before = await store.end();
  const own = randomUUID();
  for (let i = 0; i < events; i += 5_000) {
    await Promise.all(
      Array.from({ length: 50 }, (_, s) =>
        store.append(
          `joblog-${own}-${s}`,
          'any',
          Array.from({ length: 100 }, (_, n) => event(i + n)),
        ),
      ),
    );
  }
  return before;
}

async function perSecond(read: () => AsyncIterable<number>): Promise<number> {
  const start = performance.now();
  let count = 0;
  for await (const some of read()) count += some;
  return count / ((performance.now() - start) / 1_000);
}

function rounded(rate = 0): string {
  return Math.round(rate).toLocaleString('en');
}

async function measure(url: string): Promise<number[]> {
  const store = await openStore(url, systemEdge);
  const rates: number[] = [];
  for (const concurrency of concurrencies) {
    await appendsPerSecond(store, Math.min(concurrency, 8));
    rates.push(await appendsPerSecond(store, concurrency));
  }
  const before = await fill(store);
  // The double makes each answer once; that is not to be measured.
  for await (const _ of store.readAll(before));
  rates.push(
    await perSecond(async function* () {
      for await (const _ of store.readAll(before)) yield 1;
    }),
    await perSecond(async function* () {
      for await (const { events: some, live } of store.subscribeAll(before)) {
        yield some.length;
        if (live) return;
      }
    }),
  );
  await store.close();
  return rates;
}

const directory = mkdtempSync(join(tmpdir(), 'memoir-bench-'));
const real = process.env.MEMOIR_TEST_KURRENTDB;
const double = real === undefined ? await startDoubleProcess() : undefined;
try {
  const kurrent = await measure(real ?? double?.url ?? '');
  const sqlite = await measure(sqliteUrl(join(directory, 'events.sqlite')));
  const what = [
    ...concurrencies.map((concurrency) => `appends of one event, ${concurrency} at a time`),
    `readAll, ${events} events`,
    'subscribeAll up to its end',
  ];
  const head = ['per second', double ? 'KurrentDB adapter on the double' : 'KurrentDB', 'SQLite'];
  const rows = what.map((name, i) => [name, rounded(kurrent[i]), rounded(sqlite[i])]);
  process.stdout.write(`${table(head, rows)}\n`);
} finally {
  await double?.stop();
  rmSync(directory, { recursive: true, force: true });
}
