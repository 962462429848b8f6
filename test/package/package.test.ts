import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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

/** Packs what is built. */
function pack(): Packed {
  const args = ['pack', '--ignore-scripts', '--json', '--pack-destination', directory];
  const [packed] = JSON.parse(execFileSync('npm', args, { cwd: root, encoding: 'utf8' })) as Packed[];
  if (!packed) throw new Error('npm pack packed nothing');
  return packed;
}

test('the package runs where it is installed, and holds nothing that it does not need', async (t) => {
  t.timeout(300_000);
  const { filename, files } = pack();
  const parts = new Set(
    files.map(({ path }) =>
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
    'build/gen',
    'build/projections',
    'build/src',
    'docs',
    'package.json',
    'proto',
  ]);

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
    const [submitted] = npx('submit', '--repository', 'demo', '--script', 'run.sh', '--script-version', 'HEAD').split(
      '\n',
    );
    const uuid = /"uuid":\s*"([0-9a-f-]{36})"/.exec(submitted ?? '')?.[1] ?? '';
    t.regex(npx('get', uuid), new RegExp(`"uuid":\\s*"${uuid}"`));
  } finally {
    server.kill();
    await gone;
  }
  t.is(server.exitCode, 0);
  t.true(readdirSync(join(home, 'data')).includes('events.sqlite'));
});
