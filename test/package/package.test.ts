import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { makeProject } from '../support/project.js';
import { wanting } from '../support/required.js';
import { until } from '../support/until.js';

// What `npm pack` gives, installed in an empty directory without what only developers need.

const root = fileURLToPath(new URL('../../../', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'memoir-package-'));
test.after.always(() => rmSync(directory, { recursive: true, force: true }));

type Packed = { readonly filename: string; readonly files: readonly { readonly path: string }[] };
const versionOf = (modules: string, name: string): unknown =>
  (JSON.parse(readFileSync(join(modules, name, 'package.json'), 'utf8')) as { version: string }).version;

let kept: Packed | undefined;
/** What is built, packed. */
function packed(): Packed {
  kept ??= pack();
  return kept;
}

function pack(): Packed {
  const args = ['pack', '--ignore-scripts', '--json', '--pack-destination', directory];
  const [one] = JSON.parse(execFileSync('npm', args, { cwd: root, encoding: 'utf8' })) as Packed[];
  if (!one) throw new Error('npm pack packed nothing');
  return one;
}

test('the package holds what its files name, and nothing of the tests', (t) => {
  const { files } = packed();
  const paths = new Set(files.map(({ path }) => path));
  const parts = new Set(
    [...paths].map((path) =>
      path
        .split('/')
        .slice(0, path.startsWith('build/') ? 2 : 1)
        .join('/'),
    ),
  );
  t.deepEqual([...parts].sort(), [
    'CHANGELOG.md',
    'LICENSE',
    'README.md',
    'build/projections',
    'build/src',
    'deploy',
    'docs',
    'package.json',
    'proto',
  ]);
  const there = (path: string) => paths.has(path) || [...paths].some((one) => one.startsWith(`${path}/`));
  const missing: string[] = [];
  for (const path of paths) {
    t.notRegex(path, /(^|\/)test|bench|\.d\.ts$/);
    const text = readFileSync(join(root, path), 'utf8');
    const named: string[] = [];
    // What a bundle looks up beside it: the file that a thread begins with, or the version.
    if (path.endsWith('.js')) {
      for (const [, name] of text.matchAll(/new URL\("(\.[^"]+)", import\.meta\.url\)|^import '(\..+)';$/gm)) {
        if (name) named.push(name);
      }
    }
    if (/^docs\/.*\.md$/.test(path)) {
      for (const [, name = ''] of text.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)) {
        const to = posix.join(posix.dirname(path), name);
        // README and CONTRIBUTING are for a checkout too, and lead to the sources.
        if (!name.includes('://') && /^(docs|deploy|proto)\b/.test(to)) named.push(name);
      }
    }
    for (const name of named) if (!there(posix.join(posix.dirname(path), name))) missing.push(`${path}: ${name}`);
  }
  t.deepEqual(missing, []);
});

test('the package runs where it is installed', async (t) => {
  t.timeout(300_000);
  const { filename } = packed();
  const home = join(directory, 'elsewhere');
  mkdirSync(home);
  // Without the script that compiles better-sqlite3 for a minute: what it gives for this version is here already.
  const install = ['install', '--omit=dev', '--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund'];
  const installed = spawnSync('npm', [...install, join(directory, filename)], { cwd: home, encoding: 'utf8' });
  if (installed.status !== 0) {
    wanting(t, 'npm', `npm install ended with ${installed.status}: ${installed.stderr.slice(-500)}`);
    return;
  }
  const modules = join(home, 'node_modules');
  t.false(existsSync(join(modules, 'ava')));
  const sqlite = 'better-sqlite3';
  if (versionOf(modules, sqlite) === versionOf(join(root, 'node_modules'), sqlite)) {
    cpSync(join(root, 'node_modules', sqlite, 'build'), join(modules, sqlite, 'build'), { recursive: true });
  } else {
    execFileSync('npm', ['rebuild', sqlite], { cwd: home });
  }

  const { repository } = makeProject();
  t.teardown(() => repository.dispose());
  const env = { PATH: process.env.PATH, HOME: process.env.HOME };
  const args = [
    'serve',
    '--data-dir',
    join(home, 'data'),
    '--repository',
    `demo=${repository.path}`,
    '--listen',
    '127.0.0.1:0',
  ];
  const server = spawn(join(modules, '.bin/memoir'), args, { cwd: home, env, stdio: ['ignore', 'pipe', 'ignore'] });
  let said = '';
  server.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const gone = once(server, 'exit');
  try {
    const address = await until('the server is ready', () => {
      if (server.exitCode !== null) throw new Error(`memoir serve ended with ${server.exitCode}`);
      return /^ready on (\S+)$/m.exec(said)?.[1];
    });
    const npx = (...command: string[]) =>
      execFileSync('npx', ['--no-install', 'memoir', ...command, '--server', address, '--json'], {
        cwd: home,
        env,
        encoding: 'utf8',
      });
    const worker = spawn(
      join(modules, '.bin/memoir'),
      ['worker', '--server', address, '--repository', `demo=${repository.path}`, '--sandbox', 'none'],
      { cwd: home, env, stdio: 'ignore' },
    );
    try {
      const asked = ['--repository', 'demo', '--script', 'run.sh', '--script-version', 'HEAD'];
      const said = npx('submit', ...asked, '--wait');
      const uuid = /"uuid":\s*"([0-9a-f-]{36})"/.exec(said)?.[1] ?? '';
      t.regex(npx('get', uuid), /"state":\s*"JOB_STATE_COMPLETE"/);
    } finally {
      const end = once(worker, 'exit');
      if (worker.exitCode === null) {
        worker.kill();
        await end;
      }
    }
  } finally {
    server.kill();
    await gone;
  }
  t.is(server.exitCode, 0);
  const left = readdirSync(join(home, 'data'));
  for (const name of ['events.sqlite', 'content']) t.true(left.includes(name), left.join(' '));
  // The page for those who operate it, which the package has too, says of each file what it is.
  const page = readFileSync(join(modules, 'memoir/docs/operate.md'), 'utf8').split('## Files')[1] ?? '';
  const [table = ''] = page.split('## Upgrade');
  const own = (name: string) => name.replace(/(\.sqlite)(-wal|-shm|-sums|\.lock|\.lock-journal)$/, '$1');
  for (const name of left) t.regex(table, new RegExp(`^\\|.*\`${own(name)}/?\`.*\\|.*\\|$`, 'm'), name);
  const verify = ['--no-install', 'memoir', 'audit', 'verify', '--data-dir', join(home, 'data'), '--json'];
  const verified = spawnSync('npx', verify, { cwd: home, env, encoding: 'utf8' });
  // A log of one job has no checkpoint, so that nothing is proved.
  t.true([0, 8].includes(verified.status ?? -1), verified.stderr);
});
