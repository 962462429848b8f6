import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startChild } from './child-server.js';
import { type Measured, runLoad } from './http2-load.js';
import { table } from './table.js';

// What a client that opens calls and resets them at once (rapid reset, CVE-2023-44487), from a process of its own and over as many connections
// as it is given, does to the calls of others: with the limit that servers have, and with none to speak of.

const path = '/memoir.jobs.v1.JobsService/GetQueueSize';
const empty = new Uint8Array();

/** Calls that are measured, one at a time: a few seconds in the worst case. */
const calls = 2_000;

async function measured(maxResets: number, connections: number): Promise<{ load: Measured; resets: number }> {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-resets-'));
  const config = { data_dir: directory, listen: '127.0.0.1:0', log_level: 'silent', rpc: { max_resets: maxResets } };
  const server = await startChild('memoir-server', JSON.stringify(config));
  const load = { port: server.port, path, body: () => empty, concurrency: 1 };
  await runLoad({ ...load, calls: 500 });
  const attacker =
    connections > 0 ? await startChild('resets-child', String(server.port), String(connections)) : undefined;
  try {
    const resets = { count: 0 };
    attacker?.child.on('message', (sent) => {
      resets.count = sent as number;
    });
    const found = await runLoad({ ...load, calls });
    return { load: found, resets: resets.count };
  } finally {
    await attacker?.stop();
    await server.stop();
    rmSync(directory, { recursive: true });
  }
}

const rows: string[][] = [];
for (const [name, maxResets, connections] of [
  ['nobody resets', 500, 0],
  ['1 connection, limit 500', 500, 1],
  ['8 connections, limit 500', 500, 8],
  ['1 connection, no limit', 1_000_000, 1],
  ['8 connections, no limit', 1_000_000, 8],
] as const) {
  const { load, resets } = await measured(maxResets, connections);
  const at = (part: number) => (load.histogram.getValueAtPercentile(part) / 1_000).toFixed(1);
  rows.push([name, Math.round(load.rate).toLocaleString('en'), at(50), at(99), resets.toLocaleString('en')]);
}
process.stdout.write(`${table(['', 'calls/s', 'p50 ms', 'p99 ms', 'calls reset'], rows)}\n`);
