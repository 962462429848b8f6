import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

/**
 * Test files that one process runs together, since one that loads what they share costs more than most of them do: those that a file of
 * test/together imports. They change nothing of the process, await nothing while they are loaded, and their hooks concern themselves
 * alone. Each still runs by itself where it is named: `npx ava build/test/domain/job.test.js`.
 */
const folder = new URL('./test/together/', import.meta.url);
export const groups = Object.fromEntries(
  readdirSync(folder).map((file) => [
    file.replace('.test.ts', ''),
    [...readFileSync(new URL(file, folder), 'utf8').matchAll(/^import '\.\.\/(.*)\.test\.js';$/gm)].map(
      ([, path]) => path,
    ),
  ]),
);
export const together = Object.values(groups)
  .flat()
  .map((path) => `build/test/${path}.test.js`);

/** What takes longest, from the longest on: it begins first, so that it does not run on alone when all else has ended. */
const longest = [
  'together/double',
  'worker/worker',
  'together/workers',
  'together/requests',
  'worker/run/containers',
  'worker/run/hostile',
  'e2e/restored-log',
  'protos/languages',
  'model/model',
  'worker/kept-commits',
  'e2e/subscribers',
  'git/mirror/fetch-oracle',
  'git/mirror/mirror',
  'together/services',
  'together/in-turn',
  'together/files',
  'eventstore/kurrentdb',
  'e2e/pages',
  'together/readers',
  'e2e/replicas',
  'auth/auth',
  'e2e/foreign-events',
  'e2e/lost-log',
  'cli/transfer',
  'git/history',
  'together/rules',
];

/** Place of a test file among those; the others are behind them, in the order of their names. */
function turnOf(file) {
  const at = longest.findIndex((path) => file.endsWith(`build/test/${path}.test.js`));
  return at < 0 ? longest.length : at;
}

/** Every test, those that run together by the file that imports them. */
export default {
  files: ['build/test/**/*.test.js', ...together.map((path) => `!${path}`)],
  // One more than there are cores here: many tests wait most of their time.
  concurrency: availableParallelism() + 1,
  workerThreads: false,
  sortTestFiles: (a, b) => turnOf(a) - turnOf(b) || (a < b ? -1 : 1),
  // Workers that tests start run scripts that look at the machine; tests of the sandbox ask for it.
  environmentVariables: { MEMOIR_SANDBOX: 'none' },
  timeout: '2m',
};
