import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { makeToken } from '../../src/auth/token-file.js';
import { makeAuthority } from '../support/certificates.js';
import { programPath, useStorageIn } from '../support/podman.js';
import { wanting } from '../support/required.js';
import { until } from '../support/until.js';
import { deployFolder } from './unit-file.js';

// The Containerfile: built on a base that has Node.js of this machine and nothing else, with what is built here already in the place of its first
// stage, which would compile for minutes; then run with as little as containers can be given.

const root = fileURLToPath(new URL('../../../', import.meta.url));
const containerfile = join(deployFolder, 'container/Containerfile');
const text = readFileSync(containerfile, 'utf8');
const directory = mkdtempSync(join(tmpdir(), 'memoir-container-'));
test.after.always(() => {
  if (process.env.CONTAINERS_STORAGE_CONF) {
    spawnSync('podman', ['rm', '--all', '--force', '--time', '0']);
    spawnSync('podman', ['rmi', '--all', '--force']);
  }
  rmSync(directory, { recursive: true, force: true });
});

const podman = (...args: string[]) => execFileSync('podman', args, { encoding: 'utf8', stdio: 'pipe' }).trim();

/** Imports a folder as an image. */
function importFolder(folder: string, image: string): void {
  const tar = `${folder}.tar`;
  execFileSync('tar', ['-C', folder, '-cf', tar, '.']);
  podman('import', '--quiet', tar, image);
  rmSync(tar);
}

/** A base with Node.js, the libraries that it loads, and a folder for temporary files. */
function makeBase(folder: string): void {
  mkdirSync(join(folder, 'tmp'), { recursive: true });
  chmodSync(join(folder, 'tmp'), 0o1777);
  mkdirSync(join(folder, 'usr/bin'), { recursive: true });
  copyFileSync(process.execPath, join(folder, 'usr/bin/node'));
  const loaded = execFileSync('ldd', [process.execPath], { encoding: 'utf8' }).match(/\/\S+/g) ?? [];
  const sqlite = join(root, 'node_modules/better-sqlite3/build/Release/better_sqlite3.node');
  const bySqlite = execFileSync('ldd', [sqlite], { encoding: 'utf8' }).match(/\/\S+/g) ?? [];
  for (const path of new Set([...loaded, ...bySqlite])) {
    mkdirSync(join(folder, dirname(path)), { recursive: true });
    copyFileSync(realpathSync(path), join(folder, path));
  }
}

/** The commands of the first stage once all is there that it copies and has compiled. */
function commandsOfBuild(): string {
  const [, commands = ''] = /^RUN npm run build \\\n {2}&& ((?:.*\\\n)*.*)$/m.exec(text) ?? [];
  return commands.replaceAll('\\\n', '');
}

/** What the stage "build" leaves, by its own commands: the package, with what it needs beside it. */
function makeBuilt(folder: string): void {
  const at = join(folder, 'build');
  mkdirSync(at, { recursive: true });
  const { files } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { files: readonly string[] };
  const tops = new Set(files.filter((path) => !path.startsWith('!')).map((path) => path.split('/')[0] ?? ''));
  for (const name of ['package.json', 'package-lock.json', 'LICENSE', ...tops])
    cpSync(join(root, name), join(at, name), { recursive: true });
  // Links to the same files; npm takes names away, and writes none of them but this list.
  execFileSync('cp', ['-al', join(root, 'node_modules'), join(at, 'node_modules')]);
  rmSync(join(at, 'node_modules/.package-lock.json'));
  execFileSync('sh', ['-ec', commandsOfBuild().replaceAll('/out', join(folder, 'out'))], { cwd: at, stdio: 'pipe' });
}

test('the first stage takes what there is, all that the build needs among it', (t) => {
  const [build = ''] = text.split(/^FROM \$\{BASE\}/m);
  const copied = [...build.matchAll(/^COPY (.*) \S+$/gm)].flatMap(([, from = '']) => from.split(' '));
  for (const path of copied) t.true(existsSync(join(root, path)), path);
  for (const path of ['package-lock.json', 'buf.gen.yaml', 'proto', 'scripts', 'src', 'projections', 'tsconfig.json']) {
    t.true(copied.includes(path), path);
  }
  // Nothing else is sent to who builds it: first all is left out, and then not.
  const [, first, ...kept] = readFileSync(join(root, '.dockerignore'), 'utf8').trim().split('\n');
  t.is(first, '*');
  t.deepEqual(kept.sort(), copied.map((path) => `!${path}`).sort());
});

test('the image serves as nobody, by TLS, with nothing but its data directory to write to, and tells how it is', async (t) => {
  t.timeout(300_000);
  if (!programPath('podman')) return wanting(t, 'podman', 'podman is not installed');
  useStorageIn(directory);
  // Health is asked for here, and not by timers of systemd.
  process.env.DISABLE_HC_SYSTEMD = 'true';
  const folder = (name: string) => join(directory, name);
  makeBase(folder('base'));
  importFolder(folder('base'), 'localhost/base:1');
  const nothing = spawnSync('podman', ['run', '--rm', '--network=none', 'localhost/base:1', 'node', '--version'], {
    encoding: 'utf8',
  });
  if (nothing.status !== 0)
    return wanting(t, 'podman', `podman makes no containers here: ${nothing.stderr.slice(-500)}`);
  makeBuilt(folder('built'));
  const bases = ['--build-arg=BASE=localhost/base:1', `--build-context=build=${folder('built')}`];
  podman(
    'build',
    '--format=docker',
    '--pull=never',
    ...bases,
    `--file=${containerfile}`,
    '--tag=localhost/memoir:1',
    folder('base'),
  );

  const authority = makeAuthority();
  t.teardown(() => authority.dispose());
  const { certificate, key } = authority.certify('DNS:localhost');
  const settings = folder('settings');
  mkdirSync(settings);
  const file = (name: string, content: string | Buffer) =>
    writeFileSync(join(settings, name), content, { mode: 0o644 });
  file('server.pem', certificate);
  file('server-key.pem', key);
  file('ca.pem', authority.ca());
  const { token } = await makeToken(join(settings, 'tokens.json'), 'ci', { now: Date.now(), lifetimeMs: 3_600_000 });
  chmodSync(join(settings, 'tokens.json'), 0o644);
  file('ci.token', token);
  file(
    'memoir.toml',
    'listen = "0.0.0.0:7420"\n[tls]\ncert = "server.pem"\nkey = "server-key.pem"\n[auth]\ntokens = "tokens.json"\n',
  );

  const env = [
    'MEMOIR_CONFIG=/etc/memoir/memoir.toml',
    'MEMOIR_SERVER=grpcs://localhost',
    'MEMOIR_TLS_CA=/etc/memoir/ca.pem',
  ];
  const little = [
    '--read-only',
    '--tmpfs=/tmp',
    '--cap-drop=all',
    '--security-opt=no-new-privileges',
    '--network=none',
  ];
  const places = [`--volume=${settings}:/etc/memoir:ro`, '--volume=memoir-data:/var/lib/memoir'];
  podman(
    'run',
    '--detach',
    '--name=server',
    ...little,
    ...places,
    ...env.map((one) => `--env=${one}`),
    'localhost/memoir:1',
  );
  const said = () => spawnSync('podman', ['logs', 'server'], { encoding: 'utf8' });
  await until('the server is ready', () => {
    if (podman('inspect', '--format={{.State.Running}}', 'server') !== 'true')
      throw new Error(`it ended: ${said().stderr}`);
    return /^ready on 0\.0\.0\.0:7420$/m.test(said().stdout);
  });

  t.is(spawnSync('podman', ['healthcheck', 'run', 'server']).status, 0);
  const memoir = ['exec', 'server', 'node', '/opt/memoir/build/src/cli/main.js'];
  t.regex(podman(...memoir, 'whoami', '--token-file=/etc/memoir/ci.token'), /principal +token:ci/);
  // Where the base has env, as all but this one have, it is a program by its own name.
  const program = join(folder('built'), 'out/usr/local/bin/memoir');
  t.is(readlinkSync(program), '/opt/memoir/build/src/cli/main.js');
  const target = join(folder('built'), 'out', readlinkSync(program));
  t.is(statSync(target).mode & 0o777, 0o755);
  t.regex(execFileSync(target, ['--version'], { encoding: 'utf8' }), /^\d+\.\d+\.\d+/);
  // Nobody is let in without one, whatever name is given.
  t.is(spawnSync('podman', [...memoir, 'list', '--principal=token:ci']).status, 5);
  const seen = podman(
    'exec',
    'server',
    'node',
    '-p',
    'const s = fs.statSync("/var/lib/memoir/data"); [process.getuid(), process.getgid(), s.uid].join()',
  );
  t.is(seen, '65532,65532,65532');
  podman('stop', '--time=20', 'server');
  t.is(podman('inspect', '--format={{.State.ExitCode}}', 'server'), '0');

  // What the log has is there for the next one; without settings, a server is for its own container alone.
  podman('run', '--detach', '--name=next', ...little, '--volume=memoir-data:/var/lib/memoir', 'localhost/memoir:1');
  await until('the next server is well', () => spawnSync('podman', ['healthcheck', 'run', 'next']).status === 0);
  t.regex(podman('exec', 'next', 'node', '/opt/memoir/build/src/cli/main.js', 'whoami'), /principal +(uid-)?65532$/m);
  podman('kill', '--signal=KILL', 'next');
  t.not(spawnSync('podman', ['healthcheck', 'run', 'next']).status, 0);
});
