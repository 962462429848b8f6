import { closeSync, openSync, readFileSync } from 'node:fs';
import { sha1 } from '../src/git/hash.js';
import { indexPack } from '../src/git/packs/index-pack.js';
import type { KnownObjects } from '../src/git/packs/known-objects.js';
import { packLimits } from '../src/git/packs/pack-limits.js';
import { writePackIndex } from '../src/git/packs/write-index.js';
import { openRepositories } from '../src/git/repositories.js';

// One step of bench/mirror.ts in a process of its own, which says what it took: on the clock, of the processor, and of memory at most.

const [step, place = '', directory = ''] = process.argv.slice(2);

async function withMirror(work: (fetch: () => Promise<unknown>) => Promise<void>): Promise<void> {
  const remotes = {
    allowedHosts: ['127.0.0.1'],
    allowHttp: true,
    allowPrivateAddresses: true,
    refreshAfter: 0,
    silence: 600_000,
    deadline: 600_000,
  };
  const repositories = await openRepositories({ r: { url: place } }, { directory, patience: 86_400_000, remotes });
  await work(() => repositories.resolve('r', 'main'));
  await repositories.close();
}

async function measured(work: () => Promise<unknown>): Promise<{ seconds: number; cpu: number }> {
  const [begun, before] = [performance.now(), process.cpuUsage()];
  await work();
  const { user, system } = process.cpuUsage(before);
  return { seconds: (performance.now() - begun) / 1_000, cpu: (user + system) / 1e6 };
}

let cost = { seconds: 0, cpu: 0 };
if (step === 'fetch') {
  await withMirror(async (fetch) => {
    cost = await measured(fetch);
  });
} else if (step === 'refresh') {
  await withMirror(async (fetch) => {
    await fetch();
    const costs = [];
    for (let i = 0; i < 5; i++) costs.push(await measured(fetch));
    cost = costs.sort((a, b) => a.seconds - b.seconds)[2] ?? cost;
  });
} else {
  const nothing: KnownObjects = { typeOf: () => undefined, read: () => undefined, rescan() {}, close() {} };
  const file = openSync(place, 'r');
  cost = await measured(async () => {
    const options = {
      hash: sha1,
      known: nothing,
      shallow: new Set<string>(),
      limits: packLimits,
      monotonic: () => performance.now(),
    };
    const { table, sorted, checksum } = await indexPack(file, options);
    writePackIndex(`${place}.memoir.idx`, table, sorted, checksum, sha1);
  });
  closeSync(file);
}
// Not the maxRSS of getrusage, which on Linux begins with that of the parent.
const peak = /^VmHWM:\s+([0-9]+) kB$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1];
console.log(JSON.stringify({ ...cost, peakMiB: Number(peak) / 1024 }));
