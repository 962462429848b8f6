import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import test from 'ava';
import { parse } from 'yaml';
import { serverSettings } from '../../src/config/settings.js';
import { parseContentUrl } from '../../src/domain/outputs/content-url.js';
import { checkPolicy } from '../../src/policy/check-policy.js';
import { imageEnvironment } from './image-environment.js';
import { deployFolder } from './unit-file.js';

// The compose file: what it names is there, and what one part of it says of another is so.

type Service = {
  readonly image: string;
  readonly build?: { readonly context: string; readonly dockerfile: string };
  readonly environment?: Readonly<Record<string, string>>;
  readonly command?: readonly string[];
  readonly volumes?: readonly string[];
  readonly networks: readonly string[];
  readonly depends_on?: Readonly<Record<string, unknown>>;
  readonly ports?: readonly string[];
};
type Compose = {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, unknown>>;
  readonly networks: Readonly<Record<string, unknown>>;
};

const folder = join(deployFolder, 'compose');
const { services, volumes, networks } = parse(readFileSync(join(folder, 'compose.yaml'), 'utf8'), {
  merge: true,
}) as Compose;
const page = readFileSync(join(deployFolder, '../docs/deploy.md'), 'utf8');
const servers = Object.entries(services).filter(([name]) => name.startsWith('memoir-'));
const variables: Readonly<Record<string, string>> = { KURRENTDB_PASSWORD: 'right-secret' };

/** Text with the variables in it, as compose puts them there. */
const filled = (text: string) =>
  text
    .replaceAll(/\$\{(\w+)(?::([-?])([^}]*))?\}/g, (_, name: string, kind?: string, given = '') => {
      const value = variables[name] ?? (kind === '-' ? given : undefined);
      if (value === undefined) throw new Error(`nothing says what ${name} is`);
      return value;
    })
    .replaceAll('$$', '$');

/** Volumes of a service: what is mounted where. */
const mounts = ({ volumes: texts = [] }: Service) =>
  texts.map((text) => {
    const [from = '', to = '', how = 'rw'] = filled(text).split(':');
    return { from, to, how };
  });

const settingsOf = ({ environment = {} }: Service) =>
  serverSettings({
    file: join(folder, 'settings/memoir.toml'),
    environment: {
      ...imageEnvironment(),
      ...Object.fromEntries(Object.entries(environment).map(([name, text]) => [name, filled(text)])),
    },
    flags: {},
    directory: '/',
  });

test('services name volumes, networks and services that there are, and none is for nothing', (t) => {
  const all = Object.values(services);
  const named = all.flatMap(mounts).filter(({ from }) => !from.startsWith('.'));
  t.deepEqual([...new Set(named.map(({ from }) => from))].sort(), Object.keys(volumes).sort());
  t.deepEqual([...new Set(all.flatMap((one) => one.networks))].sort(), Object.keys(networks).sort());
  for (const name of all.flatMap(({ depends_on = {} }) => Object.keys(depends_on))) t.true(name in services, name);
  const example = readFileSync(join(folder, 'env.example'), 'utf8');
  for (const [, name = ''] of readFileSync(join(folder, 'compose.yaml'), 'utf8').matchAll(/[^$]\$\{(\w+)/g)) {
    t.regex(example, new RegExp(`^${name}=`, 'm'));
  }
});

test('three servers have settings as the server takes them, TLS and what proves who calls among them', async (t) => {
  t.is(servers.length, 3);
  for (const [name, service] of servers) {
    const config = await settingsOf(service);
    const cas = parseContentUrl(config.content.store ?? '');
    const log = new URL((config.store ?? '').replace('kurrentdb:', 'http:'));
    t.is(log.password, 'right-secret');
    t.true(cas.tls);
    t.is(log.searchParams.get('tls'), 'true');
    for (const { hostname } of [log, new URL(`http://${cas.address}`)]) {
      t.true(hostname in services, hostname);
      t.true(service.networks.some((one) => services[hostname]?.networks.includes(one)));
    }
    t.is(services.kurrentdb?.environment?.KURRENTDB_NODE_PORT, log.port);
    t.true(services.cas?.command?.includes(`--grpc_address=0.0.0.0:${cas.address.split(':')[1]}`));
    // What the settings name is mounted where they say.
    const inImage = (path: string) => path.replace(join(folder, 'settings'), '/etc/memoir');
    const paths = [
      config.tls?.cert,
      config.tls?.key,
      config.auth.tokens,
      config.content.ca,
      config.policy,
      config.data_dir,
    ];
    for (const path of [...paths, service.environment?.MEMOIR_TLS_CA, log.searchParams.get('tlsCAFile')]) {
      const within = mounts(service).find(({ to }) => inImage(path ?? '').startsWith(`${to}/`));
      t.truthy(within, `${name}: ${path}`);
    }
    t.is(config.listen, '0.0.0.0:7420');
    t.regex(service.ports?.join() ?? '', /^\d+:7420$/);
  }
  const data = servers.map(([, service]) => mounts(service).find(({ to }) => to === '/var/lib/memoir')?.from);
  t.is(new Set(data).size, 3, 'each has a data directory of its own');
  const [, one] = servers[0] ?? [];
  t.true(existsSync(join(folder, one?.build?.context ?? '', one?.build?.dockerfile ?? '')));
  t.deepEqual(checkPolicy(join(folder, 'settings/policy.toml')).warnings, []);
});

test('certificates are for the names that servers are called by', async (t) => {
  const script = filled(services.prepared?.command?.[1] ?? '');
  t.is(spawnSync('bash', ['-n'], { input: script, encoding: 'utf8' }).stderr, '');
  const names = new Map(
    [...script.matchAll(/^ *create (\S+) (\S+)$/gm)].map(([, of = '', list = '']) => [of, list.split(',')]),
  );
  for (const called of ['kurrentdb', 'cas']) t.true(names.get(called)?.includes(called), called);
  for (const [name, { environment = {} }] of servers) {
    t.true(names.get('memoir')?.includes(name), name);
    t.true(
      names.get('memoir')?.includes(new URL((environment.MEMOIR_SERVER ?? '').replace('grpcs:', 'https:')).hostname),
    );
  }
  const files = [...Object.values(services.kurrentdb?.environment ?? {}), ...(services.cas?.command ?? [])]
    .map((text) => /\/certs\/(\w+)\/node\.(?:crt|key)$/.exec(text)?.[1])
    .filter((of) => of !== undefined);
  t.deepEqual(files.sort(), ['cas', 'cas', 'kurrentdb', 'kurrentdb']);
});

test('certificates that are there stay, and those that were removed are made anew by the same authority', (t) => {
  const root = mkdtempSync(join(tmpdir(), 'memoir-compose-'));
  t.teardown(() => rmSync(root, { recursive: true }));
  const at = (...names: string[]) => join(root, ...names);
  for (const name of ['bin', 'certs', 'tokens', 'cas']) mkdirSync(at(name));
  // What is made says how many were made before it, and in what it was made.
  writeFileSync(
    at('bin/es-gencert-cli'),
    `#!/bin/sh
while [ "$1" != -out ]; do shift; done
mkdir -p "$2" && echo >> ${at('made')}
for kind in crt key; do
  name="$2/node.$kind"; [ "$2" = ca ] && name="ca/ca.$kind"
  [ ! -e "$name" ] || exit 1
  wc -l < ${at('made')} > "$name"
done
`,
    { mode: 0o755 },
  );
  // Whose files are is not for this user to say.
  writeFileSync(at('bin/chown'), '#!/bin/sh\n', { mode: 0o755 });
  const script = filled(services.prepared?.command?.[1] ?? '').replaceAll(
    /(?<=[ \n])\/(?=certs|tokens|cas)/g,
    `${root}/`,
  );
  const env = { ...process.env, PATH: `${at('bin')}${delimiter}${process.env.PATH}` };
  const prepare = () => {
    execFileSync('bash', ['-c', script], { env, stdio: 'pipe' });
    return ['ca/ca', 'kurrentdb/node', 'cas/node', 'memoir/node'].map((name) =>
      readFileSync(at('certs', `${name}.crt`), 'utf8').trim(),
    );
  };
  t.deepEqual(prepare(), ['1', '2', '3', '4']);
  t.deepEqual(prepare(), ['1', '2', '3', '4']);
  const [removal = ''] = /(?<=docker compose run --rm prepared -c ').*(?=')/.exec(page) ?? [];
  execFileSync('bash', ['-c', removal.replaceAll('/certs', at('certs'))]);
  writeFileSync(at('tokens/tokens.json'), 'of an operator');
  t.deepEqual(prepare(), ['1', '5', '6', '7']);
  t.is(readFileSync(at('tokens/tokens.json'), 'utf8'), 'of an operator');
});

test('what the page has an operator keep there is not for the repository', (t) => {
  const ignored = readFileSync(join(folder, '.gitignore'), 'utf8').split('\n');
  for (const name of ['.env', '*.token', 'ca.crt', '*.jsonl', '*.key']) t.true(ignored.includes(name), name);
});
