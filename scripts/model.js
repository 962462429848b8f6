import { execFile } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

// Checks the models of docs/model by spin: that each instance holds in every interleaving, and that it does not without any of its rules.
//   node scripts/model.js               all of it; ends with 1 if anything is otherwise
//   node scripts/model.js NO_TOKEN      the steps that lead to where a promise is broken without this rule

const run = promisify(execFile);
const folder = fileURLToPath(new URL('../docs/model/', import.meta.url));

/** Longest time that the instances that hold may take together, in milliseconds. */
const longest = 60_000;

/** How many are checked at once. */
const atOnce = 2;

/**
 * What is checked: a model, of a size that is searched to the end, the rules without which it does not hold, and what else
 * breaks a promise: the limits of what is promised.
 */
export const instances = [
  { name: 'clients and workers together', model: 'job.pml', flags: ['SWEEPS=1'], rules: ['NO_REVISION'] },
  {
    name: 'interests',
    model: 'job.pml',
    flags: ['CLIENTS=3', 'WORKERS=1', 'CALLS=3', 'CLAIMS=1', 'BEATS=0', 'SWEEPS=1'],
    rules: ['STALE_POLL', 'TWO_APPENDS'],
  },
  {
    name: 'withdrawals',
    model: 'job.pml',
    flags: ['WORKERS=1', 'CALLS=3', 'CLAIMS=1', 'BEATS=0', 'SWEEPS=1', 'OUTRIGHT', 'REPEATS'],
    rules: ['OWNER_TAKES_ALL', 'NO_INTEREST_ID'],
  },
  {
    name: 'priorities and limits of the queue',
    model: 'job.pml',
    flags: ['WORKERS=1', 'CALLS=3', 'CLAIMS=1', 'BEATS=0', 'SWEEPS=1', 'PRIORITIES', 'LIMITS'],
    rules: ['LAST_WISH', 'LIMIT_RUNNING'],
  },
  {
    name: 'attempts',
    model: 'job.pml',
    flags: ['CLIENTS=1', 'CALLS=1', 'FAULTS=true', 'RETRY_FAILED=1'],
    rules: ['NO_TOKEN', 'TAKE_BACK_LATE', 'COUNT_GIVEN_BACK', 'COUNT_TAKEN_BACK'],
  },
  {
    name: 'late heartbeats',
    model: 'job.pml',
    flags: ['CLIENTS=1', 'CALLS=1', 'HEARTS'],
    rules: ['TAKE_BACK_GIVEN'],
  },
  {
    name: 'leases at two servers',
    model: 'job.pml',
    flags: ['CLIENTS=1', 'CALLS=1', 'WATCHES=2', 'SWEEPS=1'],
    rules: ['NO_LEASE_REVISION'],
  },
  {
    name: 'claims sent again',
    model: 'claims.pml',
    flags: [],
    rules: ['NO_REVISION', 'NO_CATCH_UP', 'NO_TURNS', 'NO_USED_TOKEN'],
    limits: ['OVERLAP'],
  },
  {
    name: 'cascades',
    model: 'cascades.pml',
    flags: [],
    rules: ['NO_REVISION', 'CASCADE_FROM_LEFT', 'CASCADE_TAKES_ALL'],
  },
  {
    name: 'cascades, two parents of a child',
    model: 'cascades.pml',
    flags: ['SHARED'],
    rules: ['SPARES_NOBODY', 'SPARED_FOR_GOOD', 'STALE_PARENTS'],
    limits: ['UNLISTED'],
  },
  {
    name: 'cascades, a child that the owner wants too',
    model: 'cascades.pml',
    flags: ['WANTED'],
    rules: ['OWNER_UNASKED', 'GAVE_UP_ALL'],
    limits: ['ASKS_AGAIN'],
  },
  {
    name: 'runs of a computation',
    model: 'runs.pml',
    flags: [],
    rules: ['NO_STREAM', 'LATE_NUMBER', 'NO_RETRY_STREAM', 'RETRY_ALONE'],
  },
];

/** Why the models cannot be checked here; undefined if they can. */
export async function missing() {
  for (const [program, from] of [
    ['spin', 'spin'],
    ['cc', 'build-essential'],
  ]) {
    try {
      await run(program, [program === 'spin' ? '-V' : '--version']);
    } catch (error) {
      return `${program} does not run (${error.code}): apt-get install ${from}`;
    }
  }
  return undefined;
}

/** Searches one to the end, or to the first broken promise. What it throws says why it could not be searched. */
async function search(directory, { model, flags }, without, timeout) {
  mkdirSync(directory, { recursive: true });
  for (const file of readdirSync(folder)) if (file.endsWith('.pml')) copyFileSync(folder + file, join(directory, file));
  const here = { cwd: directory, maxBuffer: 64 * 1024 * 1024 };
  const defined = [...flags, ...without].map((flag) => `-D${flag}`);
  await run('spin', [...defined, '-a', model], here);
  // What is found at once costs less than what makes finding it fast.
  const [fast, room] = without.length > 0 ? ['-O0', '-w18'] : ['-O1', '-w22'];
  await run('cc', [fast, '-DSAFETY', '-DMEMLIM=4096', '-w', '-o', 'pan', 'pan.c'], here);
  const begun = performance.now();
  // -E: that everybody waits for good is no error, since whoever stops early is one of the histories. -b: too deep is one. -w: places for 2^n states.
  const { stdout } = await run('./pan', ['-E', '-b', '-m100000', room], { ...here, timeout }).catch((error) => {
    if (error.stdout?.includes('assertion violated')) return error;
    throw new Error(`${model} ${defined.join(' ')} was not searched to the end: ${error.message}\n${error.stdout}`);
  });
  const milliseconds = performance.now() - begun;
  const errors = Number(/errors: (\d+)/.exec(stdout)?.[1] ?? Number.NaN);
  const states = Number(/(\d+) states, stored/.exec(stdout)?.[1] ?? Number.NaN);
  const broken = /assertion violated (.*) \(at depth/.exec(stdout)?.[1];
  const whole = !/not completed|too small|out of memory|MEMLIM|too long|aborted/i.test(stdout);
  if (!(states > 0) || !(errors >= 0) || errors > 0 !== (broken !== undefined) || (errors === 0 && !whole)) {
    throw new Error(`${model} ${defined.join(' ')} was not searched to the end:\n${stdout}`);
  }
  return { states, milliseconds, broken };
}

/**
 * Checks all of it, and says each result to `say`.
 * @returns what is not as it should be, nothing if all is
 */
export async function check(say) {
  const scratch = mkdtempSync(join(tmpdir(), 'memoir-model-'));
  const wrong = [];
  let spent = 0;
  const tasks = instances.flatMap((instance) => [
    { instance, without: [] },
    ...[...instance.rules, ...(instance.limits ?? [])].map((rule) => ({ instance, without: [rule] })),
  ]);
  async function next() {
    for (let task = tasks.shift(); task; task = tasks.shift()) {
      const { instance, without } = task;
      const name = [instance.name, ...without].join(', without: ');
      try {
        const directory = join(scratch, `${tasks.length}`);
        const { states, milliseconds, broken } = await search(
          directory,
          instance,
          without,
          Math.max(1, Math.ceil(longest - spent)),
        );
        rmSync(directory, { recursive: true });
        const figures = `${states} states, ${(milliseconds / 1000).toFixed(2)} s`;
        if (without.length === 0) spent += milliseconds;
        say(`${name}: ${broken === undefined ? 'holds' : `broken, ${broken}`} (${figures})`);
        if ((broken === undefined) !== (without.length === 0)) wrong.push(`${name} ${broken ?? 'holds all the same'}`);
      } catch (error) {
        wrong.push(`${name}: ${error.message}`);
      }
    }
  }
  try {
    await Promise.all(Array.from({ length: atOnce }, next));
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  if (spent > longest) wrong.push(`what holds took ${spent} ms, more than ${longest}`);
  return wrong;
}

/** The steps to where the first promise is broken without a rule. */
async function steps(rule) {
  const instance = instances.find(({ rules, limits = [] }) => [...rules, ...limits].includes(rule));
  if (!instance) throw new Error(`there is no rule ${rule}`);
  const directory = mkdtempSync(join(tmpdir(), 'memoir-model-'));
  try {
    await search(directory, instance, [rule], longest);
    const flags = [...instance.flags, rule].map((flag) => `-D${flag}`);
    const { stdout } = await run('spin', [...flags, '-t', '-p', '-g', instance.model], { cwd: directory });
    return stdout;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , rule] = process.argv;
  const lacking = await missing();
  if (lacking !== undefined) {
    console.error(lacking);
    process.exitCode = 1;
  } else if (rule !== undefined) {
    console.log(await steps(rule));
  } else {
    const wrong = await check((line) => console.log(line));
    for (const line of wrong) console.error(`not as it should be: ${line}`);
    process.exitCode = wrong.length === 0 ? 0 : 1;
  }
}
