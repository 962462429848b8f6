import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { repositorySettings, type Sources, serverSettings } from '../../src/config/settings.js';
import { MemoirError } from '../../src/domain/errors.js';

function fileOf(t: ExecutionContext, toml: string): string {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-config-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const file = join(directory, 'memoir.toml');
  writeFileSync(file, toml);
  return file;
}

function settings(sources: Partial<Sources>) {
  return serverSettings({ environment: {}, flags: {}, directory: '/base', ...sources });
}

test('a data directory is all that is needed', async (t) => {
  t.deepEqual(await settings({ flags: { data_dir: '/data' } }), {
    data_dir: '/data',
    auth: { issuers: {}, open_health: true, token_principal: 'token:{}' },
    determinism: { at_once: 4, on_difference: 'report', sample: 0 },
    plaintext_beyond_loopback: false,
    listen: '127.0.0.1:7420',
    registries: {},
    remotes: {
      accept_stale: 0,
      allow_git: false,
      allow_http: false,
      allow_private_addresses: false,
      allowed_hosts: [],
      deadline: 120,
      keep_unreachable: 1_209_600,
      max_bytes: 1073741824,
      max_mirror_bytes: 17179869184,
      refresh_after: 10,
      silence: 30,
    },
    repositories: {},
    unhashed_parameters: [],
    reuse: { share_unfinished: 'readers', supersede: 'admins', trust_unstated_images: false },
    queue: { prefer_others_for: 30, reserve_after: 300 },
    reuse_if_outputs_differ: false,
    log_end_within: 0.25,
    wait_for_store: false,
    content_unchecked: 'answer',
    credentials: {},
    content: { scrub_rate: 8 * 1024 ** 2 },
    rpc: {
      max_connections: 10_000,
      max_streams: 4_096,
      max_resets: 500,
      max_refusals: 1_000,
      max_calls_in_turn: 64,
      handshake_timeout: 10,
      keepalive_time: 30,
      keepalive_timeout: 20,
      max_idle: 3_600,
      max_age: 0,
      age_grace: 60,
      max_header_bytes: 16_384,
      max_request_bytes: 3_145_728,
    },
    limits: {
      calls_per_second: 20_000,
      calls_burst: 400_000,
      reports_per_second: 20_000,
      reports_burst: 400_000,
      streams: 20_000,
      lists: 256,
      bytes_per_second: 1024 ** 3,
      bytes_burst: 8 * 1024 ** 3,
      unauthenticated: {
        calls_per_second: 50,
        calls_burst: 500,
        reports_per_second: 50,
        reports_burst: 500,
        streams: 50,
        lists: 4,
        bytes_per_second: 1024 ** 2,
        bytes_burst: 16 * 1024 ** 2,
      },
    },
    keep_commits: false,
    job_log_limit: 16 * 1024 * 1024,
    list_time_limit: 5,
    sign: false,
    trusted_keys: [],
    retired_keys: [],
    checkpoint_interval: 3_600,
    history_idle_timeout: 3_600,
    history_memory_limit: 1024 ** 3,
    drain_timeout: 10,
    log_level: 'info',
  });
  await t.throwsAsync(settings({}), { instanceOf: MemoirError, message: /--data-dir, MEMOIR_DATA_DIR, or data_dir/ });
});

test('flags go before the environment, that before the file, that before defaults', async (t) => {
  const file = fileOf(t, 'data_dir = "/file"\nlisten = "file:1"\ndrain_timeout = 1\nlog_level = "warn"\n');
  const environment = {
    MEMOIR_LISTEN: 'environment:2',
    MEMOIR_DRAIN_TIMEOUT: '2',
    MEMOIR_LOG_LEVEL: 'error',
    MEMOIR_KEEP_COMMITS: 'true',
    HOME: '/x',
  };
  const flags = { log_level: 'debug', listen: undefined, drain_timeout: '3.5' };
  const found = await settings({ file, environment, flags });
  t.is(found.data_dir, '/file');
  t.is(found.listen, 'environment:2');
  t.is(found.drain_timeout, 3.5);
  t.is(found.log_level, 'debug');
  t.is(found.job_log_limit, 16 * 1024 * 1024);
  t.true(found.keep_commits);
});

test('repositories of all sources are there, and the stronger source wins a name', async (t) => {
  const file = fileOf(t, 'data_dir = "d"\n[repositories]\na = { path = "rel/a" }\nb = { path = "/file/b" }\n');
  const found = await settings({
    file,
    environment: { MEMOIR_REPOSITORIES: 'b=/env/b,c=env/c,' },
    flags: { repositories: { c: '/flag/c', 'team/d': 'flag/d' } },
  });
  const directory = file.slice(0, -'/memoir.toml'.length);
  t.deepEqual(found.repositories, {
    a: { path: join(directory, 'rel/a') },
    b: { path: '/env/b' },
    c: { path: '/flag/c' },
    'team/d': { path: '/base/flag/d' },
  });
  t.is(found.data_dir, join(directory, 'd'));
});

test('relative sqlite paths begin where they are given', async (t) => {
  const file = fileOf(t, 'data_dir = "/d"\nstore = "sqlite:s/events"\n');
  t.is((await settings({ file })).store, `sqlite:${file.replace('memoir.toml', 's/events')}`);
  t.is((await settings({ file, flags: { store: 'sqlite:x' } })).store, 'sqlite:/base/x');
  t.is((await settings({ file, flags: { store: 'sqlite:/x' } })).store, 'sqlite:/x');
  t.is((await settings({ file: fileOf(t, 'data_dir = "/d"\npolicy = "p.toml"') })).policy?.endsWith('/p.toml'), true);
  t.is((await settings({ file, environment: { MEMOIR_POLICY: 'p.toml' } })).policy, '/base/p.toml');
});

test('relative files of TLS, tokens and keys begin where their file is', async (t) => {
  const file = fileOf(
    t,
    `data_dir = "/d"
[tls]
cert = "c.pem"
key = "/k.pem"
client_ca.farm = {file = "farm.pem", san = "cn", denied = "denied"}
[auth]
tokens = "tokens.json"
issuers.a = {issuer = "a", jwks = "keys.json", audience = ["m"]}
issuers.b = {issuer = "b", jwks = "https://b.example.org/keys", audience = ["m"]}
`,
  );
  const here = (name: string) => file.replace('memoir.toml', name);
  const { tls, auth } = await settings({ file });
  t.like(tls, { cert: here('c.pem'), key: '/k.pem' });
  t.like(tls?.client_ca.farm, { file: here('farm.pem'), denied: here('denied') });
  t.is(auth.tokens, here('tokens.json'));
  t.deepEqual([auth.issuers.a?.jwks, auth.issuers.b?.jwks], [here('keys.json'), 'https://b.example.org/keys']);
});

const issuerOf = (more: string) => `[auth.issuers.a]\nissuer = "a"\naudience = ["m"]\n${more}`;

test('registries come from the file alone, and are whole', async (t) => {
  const file = fileOf(
    t,
    'data_dir = "/d"\n[registries.team]\nurl = "https://registry.example:5000"\nusername = "u"\npassword = "p"\n',
  );
  const { registries } = await settings({ file, environment: { MEMOIR_DEFAULT_DOCKER_IMAGE: 'base:1' } });
  const url = 'https://registry.example:5000';
  t.deepEqual(registries, {
    team: { url, hosts: [], username: 'u', password: 'p', needed: false, timeout: 5, max_age: 0 },
  });
  t.is((await settings({ file, flags: { default_docker_image: 'base:2' } })).default_docker_image, 'base:2');
});

test('what is wrong with a remote repository is told without its password', async (t) => {
  const secret = 's3cret';
  for (const [toml, message] of [
    [
      `path = "/p"\nurl = "https://r"\nusername = "u"\npassword = "${secret}"`,
      /repositories\.r.*: give either path or url/,
    ],
    [`password = "${secret}"\nurl = "https://r"`, /repositories\.r.*: give username and password both, with url/],
    [
      `path = "/p"\nusername = "u"\npassword = "${secret}"`,
      /repositories\.r.*: give username and password both, with url/,
    ],
    [`url = "https://r"\nusername = "u"\npassword = ["${secret}"]`, /"\(not shown\)" is no value of .*password/],
    [`url = "https://r"\npasword = "${secret}"`, /unknown key "repositories\.r\.pasword"/],
    ['path = 1', /"1" is no value of "repositories\.r\.path"/],
  ] as const) {
    const file = fileOf(t, `data_dir = "/d"\n[repositories.r]\n${toml}\n`);
    const error = await t.throwsAsync(settings({ file }), { instanceOf: MemoirError }, toml);
    t.regex(error?.message ?? '', message);
    t.false(error?.message.includes(secret), error?.message);
  }
});

test('what is wrong with a registry is told without its password', async (t) => {
  const secret = 's3cret';
  for (const [toml, message] of [
    [`password = "${secret}"`, /^"registries\.team\.url": /],
    [`url = "https://u:${secret}@r"`, /"https:\/\/\(not shown\)@r" is no value of "registries\.team\.url": give it as/],
    [`url = "https://r"\npassword = "${secret}"`, /give both username and password/],
    [`url = "https://r"\nusername = "u"\npassword = ["${secret}"]`, /"\(not shown\)" is no value of .*password/],
    [`url = "https://r"\npasword = "${secret}"`, /unknown key "registries\.team\.pasword"/],
    ['url = "https://r/v2"', /"https:\/\/r\/v2" is no value/],
    ['url = "ftp://r"', /"ftp:\/\/r" is no value/],
    ['url = "https://r"\nhosts = ["https://r"]', /is no value of "registries\.team\.hosts\.0": give hosts/],
    ['url = "https://r"\ntimeout = 0', /"0" is no value of "registries\.team\.timeout"/],
  ] as const) {
    const file = fileOf(t, `data_dir = "/d"\n[registries.team]\n${toml}\n`);
    const error = await t.throwsAsync(settings({ file }), { instanceOf: MemoirError }, toml);
    t.regex(error?.message ?? '', message);
    t.false(error?.message.includes(secret), error?.message);
  }
  const name = fileOf(t, 'data_dir = "/d"\n[registries."../x"]\nurl = "https://r"\n');
  await t.throwsAsync(settings({ file: name }), { message: /name "\.\.\/x" is no value of "registries/ });
});

for (const [what, sources, message] of [
  [
    'a default image that is none',
    { environment: { MEMOIR_DEFAULT_DOCKER_IMAGE: '-v' } },
    /MEMOIR_DEFAULT_DOCKER_IMAGE: "-v" is no value of "default_docker_image": give a hash/,
  ],
  [
    'a key of a file that means nothing',
    { toml: 'data_dir="/d"\nlisen = "x"' },
    /config file ".*memoir.toml": unknown key "lisen"/,
  ],
  [
    'a key inside that means nothing',
    { toml: '[repositories.a]\npath="/p"\nuri="x"' },
    /unknown key "repositories.a.uri"/,
  ],
  [
    'a setting of before',
    { toml: 'insecure = true' },
    /memoir.toml": the setting "insecure" is no more.*plaintext_beyond_loopback/,
  ],
  ['keys that anybody on the way may change', { toml: issuerOf('jwks = "http://b.example.org/keys"') }, /jwks".*https/],
  ['an algorithm with a secret', { toml: issuerOf('jwks = "k"\nalgorithms = ["HS256"]') }, /algorithms/],
  ['no algorithm', { toml: issuerOf('jwks = "k"\nalgorithms = ["none"]') }, /algorithms/],
  [
    'a principal that is always the same',
    { toml: '[auth]\ntoken_principal = "root"' },
    /token_principal".*"\{\}" once/,
  ],
  [
    'a URI of any trust domain',
    { toml: '[tls]\ncert = "c"\nkey = "k"\nclient_ca.a = {file = "f", san = "uri"}' },
    /give trust_domain with san = "uri"/,
  ],
  ['a key with a meaning of its own', { toml: '__proto__ = 1' }, /unknown key "__proto__"/],
  ['a value of the wrong type', { toml: 'listen = 7420' }, /memoir.toml": "7420" is no value of "listen": .*string/],
  ['a value out of range', { toml: 'drain_timeout = -1' }, /"-1" is no value of "drain_timeout"/],
  ['a date', { toml: 'listen = 2020-01-01' }, /memoir.toml": "listen" is a date/],
  [
    'a name that no repository may have',
    { toml: '[repositories]\n"../x" = {path="/p"}' },
    /name "..\/x" is no value of "repositories/,
  ],
  ['no TOML', { toml: 'listen = \n' }, /memoir.toml": Invalid TOML/],
  [
    'a variable that means nothing',
    { environment: { MEMOIR_LISTN: 'x' } },
    /variable "MEMOIR_LISTN" \("x"\) is no setting/,
  ],
  [
    'a variable of the wrong type',
    { environment: { MEMOIR_JOB_LOG_LIMIT: '1k' } },
    /variable MEMOIR_JOB_LOG_LIMIT: "1k" is no value/,
  ],
  ['an empty number', { environment: { MEMOIR_DRAIN_TIMEOUT: ' ' } }, /variable MEMOIR_DRAIN_TIMEOUT: " " is no value/],
  [
    'a variable that is neither true nor false',
    { environment: { MEMOIR_REUSE_IF_OUTPUTS_DIFFER: 'yes' } },
    /: "yes" is no value/,
  ],
  [
    'a pair without a path',
    { environment: { MEMOIR_REPOSITORIES: 'a=/p,b' } },
    /MEMOIR_REPOSITORIES: "b" is not name=path/,
  ],
  ['a name twice', { environment: { MEMOIR_REPOSITORIES: 'a=/p,a=/q' } }, /repository "a" is given twice/],
  [
    'a flag out of the list',
    { flags: { log_level: 'loud' } },
    /--log-level: "loud" is no value of "log_level": .*"trace"/,
  ],
  ['a flag with a hostile value', { flags: { log_level: '\u001b[2J' } }, /--log-level: "\\u001b\[2J"/],
  ['an empty path', { flags: { data_dir: '' } }, /--data-dir: "" is no value of "data_dir"/],
] as const) {
  test(`refused: ${what}`, async (t) => {
    const { toml, ...rest } = { toml: undefined, ...sources };
    const file = toml === undefined ? undefined : fileOf(t, toml);
    const flags = { data_dir: '/d', ...('flags' in rest ? rest.flags : {}) };
    const error = await t.throwsAsync(settings({ file, ...rest, flags }), { instanceOf: MemoirError });
    t.is(error?.code, 'INVALID_ARGUMENT');
    t.regex(error?.message ?? '', message);
  });
}

test('a file that cannot be read is named', async (t) => {
  await t.throwsAsync(settings({ file: '/nowhere/memoir.toml' }), { message: /"\/nowhere\/memoir.toml": ENOENT/ });
});

test('variables of other commands and of a container platform are no mistake', async (t) => {
  const environment = { MEMOIR_SERVER: 'x:1', MEMOIR_PORT_7420_TCP_ADDR: '10.0.0.1', MEMOIR_SERVICE_HOST: '10.0.0.1' };
  t.is((await settings({ environment, flags: { data_dir: '/d' } })).listen, '127.0.0.1:7420');
});

test('a worker takes the repositories of a server file that is otherwise right', async (t) => {
  const sources = { environment: {}, flags: {}, directory: '/base' };
  const file = fileOf(t, 'listen = "x:1"\n[repositories.a]\npath = "/a"\n');
  t.deepEqual(await repositorySettings({ ...sources, file }), { a: { path: '/a' } });
  await t.throwsAsync(repositorySettings({ ...sources, file: fileOf(t, 'lisen = 1') }), { message: /unknown key/ });
});
