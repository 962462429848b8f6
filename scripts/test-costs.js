import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import ava, { together } from '../ava.config.js';

// What test files cost, one after the other: seconds of processor of everything that runs for them, which hardly depends on what else the
// machine does, and of wall time. After `npm run build`, on Linux:
//   node scripts/test-costs.js                       every process of the suite, a group of test/together as one
//   node scripts/test-costs.js e2e/lists git/history those alone, a file of a group too
//   node scripts/test-costs.js --together            every file of the groups by itself
// Each has what ava itself costs in it, about 0.6 s. Which tests of a file cost most, ava says itself: `npx ava --tap` has their durations.

/** Units of time that the kernel counts in, per second. */
const ticks = 100;

/** Seconds of processor of all processes that this one began and has waited for, and of theirs. */
function ofChildren() {
  const [, fields] = readFileSync('/proc/self/stat', 'utf8').split(') ');
  const [cutime, cstime] = fields.split(' ').slice(13, 15).map(Number);
  return (cutime + cstime) / ticks;
}

const grouped = new Set(together.map((path) => path.slice('build/test/'.length, -'.test.js'.length)));
const all = readdirSync('build/test', { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.test.js'))
  .map((path) => path.slice(0, -'.test.js'.length));
const [first] = process.argv.slice(2);
const asked =
  first === undefined
    ? all.filter((path) => !grouped.has(path))
    : first === '--together'
      ? [...grouped]
      : process.argv.slice(2);

const costs = [];
for (const path of asked) {
  const [before, began] = [ofChildren(), performance.now()];
  const { status, stdout } = spawnSync('npx', ['ava', `build/test/${path}.test.js`, '--tap'], {
    encoding: 'utf8',
    env: { ...process.env, ...ava.environmentVariables },
    maxBuffer: 2 ** 28,
  });
  const cost = {
    path,
    processor: ofChildren() - before,
    wall: (performance.now() - began) / 1_000,
    tests: Number(/^# tests (\d+)$/m.exec(stdout)?.[1] ?? 0),
  };
  costs.push(cost);
  console.log(lineOf(cost), status === 0 ? '' : ` ended with ${status}`);
}

function lineOf({ path, processor, wall, tests }) {
  const numbers = [processor.toFixed(1), wall.toFixed(1)].map((text) => text.padStart(7));
  return `${numbers.join(' ')} ${String(tests).padStart(5)}  ${path}`;
}

const sum = (name) => costs.reduce((total, cost) => total + cost[name], 0);
console.log('\nmost processor first: seconds of processor, of wall time, tests');
for (const cost of costs.toSorted((a, b) => b.processor - a.processor)) console.log(lineOf(cost));
console.log(lineOf({ path: 'all', processor: sum('processor'), wall: sum('wall'), tests: sum('tests') }));
