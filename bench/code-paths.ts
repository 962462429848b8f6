import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { codeDigest } from '../src/domain/code/code-digest.js';
import { openRepositories } from '../src/git/repositories.js';
import { runLoad } from './http2-load.js';
import { percentile } from './percentile.js';
import { createPrng } from './prng.js';
import { createJobPath, makeScene, numbered } from './scene.js';
import { seedJobs } from './seed.js';
import { runGit } from './synthetic-repository.js';
import { table } from './table.js';

// What a request by code paths costs beside one by commit, both answered with a past job, in turns of the same server; and the first look at a
// commit of a repository of some thousand files.
//
//     node build/bench/code-paths.js [--turns 15] [--calls 4000] [--commits 300]

const { values } = parseArgs({
  options: {
    turns: { type: 'string', default: '15' },
    calls: { type: 'string', default: '4000' },
    commits: { type: 'string', default: '300' },
  },
});
const [turns, calls, commits] = [values.turns, values.calls, values.commits].map(Number) as [number, number, number];
const seeded = 5_000;
const rows: string[][] = [];

if (turns > 0) await requests();
await firstLooks();
process.stdout.write(
  `${table(['code paths', 'by commit', 'by code paths', 'median of ratios, or processor time'], rows)}\n`,
);

/** Turns of requests by one and by the other. */
async function requests(): Promise<void> {
  const scene = makeScene();
  try {
    const repository = join(scene.directory, 'repository');
    const oid = execFileSync('git', ['-C', repository, 'rev-parse', 'main:run.sh'], { encoding: 'utf8' }).trim();
    const code = {
      codePaths: ['run.sh'],
      codeDigest: codeDigest({ objectFormat: 'sha1', entries: [{ path: 'run.sh', mode: '100755', oid }] }),
    };
    const seedOfCode = { ...scene.seed, code };
    const memoir = await scene.serve('data', async (store, seed) => {
      await seedJobs(store, seed, 0, seeded);
      await seedJobs(store, seedOfCode, seeded, seeded);
    });
    for (const concurrency of [1, 64]) {
      const rate = async (body: (n: number) => Uint8Array, from: number) => {
        const count = concurrency === 1 ? Math.ceil(calls / 8) : calls;
        const load = { port: memoir.port, path: createJobPath, concurrency, calls: count };
        return (await runLoad({ ...load, body: (n) => body(from + (n % seeded)) })).rate;
      };
      const byCommit = numbered(scene.seed, scene.seed.commit);
      const byCode = numbered(seedOfCode, scene.seed.commit);
      await rate(byCommit, 0);
      await rate(byCode, seeded);
      const measured: [number, number][] = [];
      for (let turn = 0; turn < turns; turn++) {
        // Who begins takes turns too.
        const first = turn % 2 === 0 ? await rate(byCommit, 0) : undefined;
        const of = await rate(byCode, seeded);
        measured.push([first ?? (await rate(byCommit, 0)), of]);
      }
      const [commit, paths] = [0, 1].map((i) =>
        percentile(
          measured.map((pair) => pair[i] as number),
          0.5,
        ),
      ) as [number, number];
      const ratio = percentile(
        measured.map(([one, other]) => one / other),
        0.5,
      );
      const shown = [commit, paths].map((one) => `${Math.round(one)}/s`);
      rows.push([`hits, ${concurrency} at a time (≤ 1.10)`, ...shown, ratio.toFixed(3)]);
    }
    await memoir.stop();
  } finally {
    scene.dispose();
  }
}

/** The first look at each of many commits, none of which was looked at before. */
async function firstLooks(): Promise<void> {
  const path = mkdtempSync(join(tmpdir(), 'memoir-bench-code-'));
  try {
    const ids = await writeFiles(path);
    const times = new Map<string, readonly [clock: readonly number[], cpu: readonly number[]]>();
    for (const paths of [['.'], ['d1', 'd2', 'd3/s1']]) {
      const looks: number[] = [];
      const cpu: number[] = [];
      // Its thread knows no tree yet.
      const repositories = await openRepositories({ r: { path } });
      for (const commit of ids) {
        await repositories.resolve('r', commit);
        const [begun, before] = [performance.now(), process.cpuUsage()];
        const found = await repositories.code('r', { commit, paths, checked: true });
        looks.push(performance.now() - begun);
        const { user, system } = process.cpuUsage(before);
        cpu.push((user + system) / 1_000);
        if (found.kind !== 'code') throw new Error(found.what);
      }
      await repositories.close();
      times.set(paths.join(' '), [looks, cpu]);
    }
    for (const [paths, [looks, cpu]] of times) {
      const shown = [0.5, 0.99].map((part) => `${percentile(looks, part).toFixed(2)} ms`);
      rows.push([
        `first look at a commit, ${paths} (p50 ≤ 2 ms)`,
        '',
        `p50 ${shown[0]}, p99 ${shown[1]}`,
        `${percentile(cpu, 0.5).toFixed(2)} ms of processor`,
      ]);
      rows.push([`… the very first`, '', `${(looks[0] as number).toFixed(2)} ms`, '']);
    }
  } finally {
    rmSync(path, { recursive: true, force: true });
  }
}

/** A repository like git's own in size: 4,500 files in 300 directories, packed, of which each commit changes three. */
async function writeFiles(path: string): Promise<string[]> {
  const random = createPrng(11);
  const file = () => {
    const at = Math.floor(random() * 4_500);
    return `d${at % 20}/s${Math.floor(at / 20) % 15}/f${at}`;
  };
  const all = Array.from({ length: 4_500 }, (_, at) => `d${at % 20}/s${Math.floor(at / 20) % 15}/f${at}`);
  const lines: string[] = [];
  for (let n = 0; n < commits; n++) {
    lines.push(`commit refs/heads/main\ncommitter A <a@b> ${1_700_000_000 + n} +0000\ndata 0\n`);
    for (const name of n === 0 ? all : [file(), file(), file()]) {
      const text = `${name} ${n}\n`;
      lines.push(`M 100644 inline ${name}\ndata ${text.length}\n${text}`);
    }
    lines.push('\n');
  }
  await runGit(path, ['init', '-q', '--bare', '-b', 'main']);
  await runGit(path, ['fast-import', '--quiet'], lines);
  await runGit(path, ['repack', '-adfq']);
  return (await runGit(path, ['rev-list', 'main'])).split('\n');
}
