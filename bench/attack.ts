import { startChild } from './child-server.js';
import { type Measured, runLoad } from './http2-load.js';
import { makeScene } from './scene.js';
import { seedJobs } from './seed.js';
import { table } from './table.js';

// What a caller that does all it may, over a connection of a process of its own that is made again when it is cut off, does to the calls of another
// caller, one at a time: with the limits that servers have, and with all settings at their most.
//
//     node build/bench/attack.js [calls that are measured, 2,000 unless given]

const path = '/memoir.jobs.v1.JobsService/GetQueueSize';
const empty = new Uint8Array();
const calls = Number(process.argv[2] ?? 2_000);

const most = 1_000_000;
const limits = { calls_per_second: most, calls_burst: most, reports_per_second: most, streams: most, lists: most };
const none = { limits, rpc: { max_resets: most, max_refusals: most, max_calls_in_turn: most } };
const byDefault = { limits: {}, rpc: {} };

const scene = makeScene();

async function measured(
  name: string,
  kind: string | undefined,
  more: object,
): Promise<{ load: Measured; made: number }> {
  const server = await scene.serve(name, (store, seed) => seedJobs(store, seed, 0, 2_000), {
    log_level: 'silent',
    ...more,
  });
  const load = { port: server.port, path, body: () => empty, concurrency: 1, headers: { 'memoir-principal': 'ada' } };
  await runLoad({ ...load, calls: 500 });
  const attacker = kind === undefined ? undefined : await startChild('attack-child', String(server.port), kind);
  try {
    let made = 0;
    attacker?.child.on('message', (sent) => {
      made = sent as number;
    });
    return { load: await runLoad({ ...load, calls }), made };
  } finally {
    await attacker?.stop();
    await server.stop();
  }
}

try {
  const rows: string[][] = [];
  let quiet = Number.NaN;
  for (const [name, kind, more] of [
    ['nobody attacks', undefined, byDefault],
    ['calls', 'calls', byDefault],
    ['lists', 'lists', byDefault],
    ['streams', 'streams', byDefault],
    ['resets', 'resets', byDefault],
    ['all of it', 'all', byDefault],
    ['all of it, settings at most', 'all', none],
  ] as const) {
    const { load, made } = await measured(name.replaceAll(/\W/g, '-'), kind, more);
    const at = (part: number) => load.histogram.getValueAtPercentile(part) / 1_000;
    if (kind === undefined) quiet = at(99);
    const beside = kind === undefined ? '' : `${(at(99) / quiet).toFixed(1)} ×`;
    rows.push([
      name,
      Math.round(load.rate).toLocaleString('en'),
      at(50).toFixed(1),
      at(99).toFixed(1),
      beside,
      made.toLocaleString('en'),
    ]);
  }
  const head = ['', 'calls/s', 'p50 ms', 'p99 ms', 'of nobody’s', "attacker's calls"];
  process.stdout.write(`${table(head, rows)}\n`);
} finally {
  scene.dispose();
}
