import { spawnSync } from 'node:child_process';
import { cpus, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';

// Runs the benches one after the other, each in a process of its own. Names of benches as arguments pick some of them.

const all = [
  'calls',
  'batches',
  'claims',
  'resets',
  'attack',
  'credentials',
  'subscribers',
  'index-size',
  'candidates',
  'code-paths',
  'exclusions',
  'near-misses',
  'replay',
  'savings',
  'verify',
  'transfer',
  'signing',
  'content',
  'content-hits',
  'attempts',
  'list-jobs',
  'as-of',
  'git',
];
const chosen = process.argv.length > 2 ? process.argv.slice(2) : all;

const [cpu] = cpus();
const memory = Math.round(totalmem() / 1024 ** 3);
process.stdout.write(`${cpus().length} × ${cpu?.model ?? 'processor'}, ${memory} GiB, Node.js ${process.version}\n`);
for (const name of chosen) {
  if (!all.includes(name)) throw new Error(`there is no bench ${name}; there are ${all.join(', ')}`);
  process.stdout.write(`\n${name}\n`);
  const file = fileURLToPath(new URL(`./${name}.js`, import.meta.url));
  const { status } = spawnSync(process.execPath, [file], { stdio: 'inherit' });
  if (status !== 0) process.exitCode = 1;
}
