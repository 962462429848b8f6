import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import { decodeJwt } from 'jose';
import { startMemoir } from '../../demo/program.js';
import { keptToken } from '../../src/cli/auth/kept-token.js';
import type { Profile } from '../../src/cli/auth/profile.js';
import type { ServerConfig } from '../../src/config.js';
import { runMemoir, runProcess } from '../support/command.js';
import { test } from '../support/serial.js';
import { startTestServer, type TestServer } from '../support/server.js';
import { until } from '../support/until.js';
import { startProvider, type TestProvider } from './provider.js';

// memoir login at an identity provider, which is a real one: npm's oidc-provider.

let provider: TestProvider;
let server: TestServer;
const home = mkdtempSync(join(tmpdir(), 'memoir-login-'));
const env = { XDG_CONFIG_HOME: home };

test.before(async () => {
  provider = await startProvider();
  const corp = {
    issuer: provider.issuer,
    jwks: `${provider.issuer}/jwks`,
    audience: ['memoir'],
    algorithms: ['ES256'],
  };
  server = await startTestServer({ settings: { auth: { issuers: { corp } } } as unknown as Partial<ServerConfig> });
});
test.after.always(async () => {
  await server?.dispose();
  await provider?.close();
  rmSync(home, { recursive: true });
});

const at = (...more: string[]) => ['login', '--server', server.address(), '--client-id', 'memoir-cli', ...more];
const fileOf = (profile: string) => join(home, 'memoir', `${profile}.json`);
const kept = (profile: string) => JSON.parse(readFileSync(fileOf(profile), 'utf8')) as Profile;
const change = (profile: string, login: Partial<Profile['login']>) => {
  const before = kept(profile);
  writeFileSync(fileOf(profile), JSON.stringify({ ...before, login: { ...before.login, ...login } }), { mode: 0o600 });
};
const past = new Date(0).toISOString();

/** Begins a login and, once it says where, goes there. */
async function logIn(t: ExecutionContext, account: string, ...more: string[]) {
  const login = startMemoir(at('--issuer', provider.issuer, ...more), { env });
  t.teardown(() => login.stop('SIGKILL'));
  const page = await until('the page is told', () => /^or open (\S+) and/m.exec(login.errors())?.[1]);
  const [, code = ''] = /give the code (\S+)$/m.exec(login.errors()) ?? [];
  t.true(page.includes(code));
  await provider.visit(page, account);
  return { code: await login.ended(), out: login.output(), err: login.errors() };
}

test('somebody who confirms the code is logged in, told to slow down or not; what is kept is for its owner alone', async (t) => {
  provider.whims.slowDown = 1;
  const begun = performance.now();
  const said = await logIn(t, 'ada', '--profile', 'ada');
  t.is(said.code, 0, said.err);
  t.is(provider.whims.slowDown, 0);
  t.true(performance.now() - begun > 5_000, 'it asks less often once it was told to slow down (RFC 8628)');
  t.regex(said.out, /^logged in to \S+ as corp:ada; kept in /);
  t.is(statSync(fileOf('ada')).mode & 0o777, 0o600);
  const { token = '', login } = kept('ada');
  t.false(said.out.includes(token));
  t.false(said.err.includes(token));
  t.like(decodeJwt(token), { sub: 'ada', aud: 'memoir' });
  t.like(login, { issuer: provider.issuer, client_id: 'memoir-cli', parameters: {} });
  t.truthy(login?.refresh_token);
  t.regex((await runMemoir(['whoami', '--profile', 'ada'], { env })).out, /^principal +corp:ada\nby +jwt corp\//);
});

test('a token whose time is nearly over is renewed by one of those that want it, and kept', async (t) => {
  const before = kept('ada');
  change('ada', { renew_at: past });
  provider.grants.length = 0;
  // Two at once: the issuer takes a second use of one right to renew for theft, and ends the login.
  const whoami = () => runProcess(['whoami', '--profile', 'ada'], { env });
  for (const { out, err } of await Promise.all([whoami(), whoami()])) t.regex(out, /principal +corp:ada/, err);
  t.deepEqual(provider.grants, ['refresh_token']);
  const after = kept('ada');
  t.not(after.token, before.token);
  t.not(after.login?.refresh_token, before.login?.refresh_token);
  t.is(statSync(fileOf('ada')).mode & 0o777, 0o600);
  t.true(Date.parse(after.login?.renew_at ?? '') > Date.now());
});

test('a process that goes on has its token renewed behind its calls', async (t) => {
  process.env.XDG_CONFIG_HOME = home;
  change('ada', { renew_at: past });
  const before = kept('ada');
  const token = keptToken('ada', before);
  t.is(token?.(), before.token);
  await until('it is another', () => token?.() !== before.token);
  t.is(token?.(), kept('ada').token);
});

test('who denies the code, or does not confirm it in time, is not logged in', async (t) => {
  const denied = await logIn(t, 'deny', '--profile', 'none');
  t.is(denied.code, 5);
  t.regex(denied.err, /was denied there\n {2}reason: LOGIN_DENIED/);
  provider.whims.codeLifetime = 2;
  const late = await runProcess(at('--issuer', provider.issuer, '--profile', 'none'), { env });
  provider.whims.codeLifetime = 600;
  t.is(late.code, 5);
  t.regex(late.err, /nobody confirmed the login at .* in time\n {2}reason: LOGIN_TOO_LATE/);
  t.deepEqual(
    readdirSync(join(home, 'memoir')).filter((name) => name.startsWith('none')),
    [],
  );
});

test('an issuer that cannot be used, or must not, is named', async (t) => {
  const refused = async (code: number, why: RegExp, args: string[]) => {
    const said = await runMemoir(args, { env });
    t.is(said.code, code, said.err);
    t.regex(said.err, why);
  };
  await refused(2, /BAD_ISSUER/, at('--issuer', 'http://id.example.org'));
  await refused(2, /BAD_ISSUER/, at('--issuer', 'nonsense'));
  await refused(6, /cannot be asked: .*\n {2}reason: ISSUER_UNAVAILABLE/, at('--issuer', 'http://127.0.0.1:1'));
  await refused(2, /give --client-id/, ['login', '--server', server.address(), '--issuer', provider.issuer]);
  await refused(2, /are for a login at an issuer: give --issuer/, at());
  await refused(2, /refuses the client "stranger" with "invalid_client"/, [
    ...['login', '--server', server.address(), '--client-id', 'stranger', '--issuer', provider.issuer],
  ]);
  await refused(
    2,
    /--parameter "scope" is what login itself/,
    at('--issuer', provider.issuer, '--parameter', 'scope=all'),
  );
  await refused(
    2,
    /refuses the client "memoir-cli" with "invalid_target"/,
    at('--issuer', provider.issuer, '--parameter', 'resource=nonsense'),
  );
  // Nobody is asked for a token that could not be sent.
  const elsewhere = [
    'login',
    '--server',
    'memoir.example.org:7420',
    '--client-id',
    'memoir-cli',
    '--issuer',
    provider.issuer,
  ];
  await refused(2, /TOKEN_OVER_PLAINTEXT/, elsewhere);
  for (const [name, value, why] of [
    ['device_authorization_endpoint', undefined, /NO_DEVICE_FLOW/],
    ['token_endpoint', 'http://id.example.org/token', /would be called without TLS, at "http:/],
    ['issuer', 'https://other.example.org', /ISSUER_UNAVAILABLE/],
  ] as const) {
    provider.whims.metadata = (said) => Object.assign(said, { [name]: value });
    await refused(name === 'issuer' ? 6 : 2, why, at('--issuer', provider.issuer));
  }
  provider.whims.metadata = () => {};
});

test('a login that its issuer ended asks for another; one that the user ends is ended there too', async (t) => {
  t.is((await logIn(t, 'eve', '--profile', 'eve', '--parameter', 'resource=https://memoir.example.org')).code, 0);
  const revoked = kept('eve').login?.refresh_token ?? '';
  const body = new URLSearchParams({ token: revoked, client_id: 'memoir-cli' });
  t.is((await fetch(`${provider.issuer}/token/revocation`, { method: 'POST', body })).status, 200);
  change('eve', { renew_at: past });
  const ended = await runMemoir(['whoami', '--profile', 'eve'], { env });
  t.is(ended.code, 5);
  t.regex(ended.err, /has ended: log in again by memoir login\n {2}reason: LOGIN_ENDED/);

  const { refresh_token = '' } = kept('ada').login ?? {};
  const out = await runMemoir(['logout', '--profile', 'ada'], { env });
  t.deepEqual([out.code, out.out, out.err], [0, 'forgotten: ada\n', '']);
  const again = new URLSearchParams({ grant_type: 'refresh_token', refresh_token, client_id: 'memoir-cli' });
  const answer = await fetch(`${provider.issuer}/token`, { method: 'POST', body: again });
  t.like(await answer.json(), { error: 'invalid_grant' });
  t.is((await runMemoir(['whoami', '--profile', 'ada'], { env })).code, 2);
});

test('while the issuer is away a good token goes on, an expired one does not, and a login can be forgotten', async (t) => {
  t.is((await logIn(t, 'bob', '--profile', 'bob')).code, 0);
  await provider.close();
  change('bob', { renew_at: past });
  t.regex((await runMemoir(['whoami', '--profile', 'bob'], { env })).out, /principal +corp:bob/);
  change('bob', { expires_at: past });
  const over = await runMemoir(['whoami', '--profile', 'bob'], { env });
  t.is(over.code, 6);
  t.regex(over.err, /ISSUER_UNAVAILABLE/);
  const out = await runMemoir(['logout', '--profile', 'bob'], { env });
  t.is(out.code, 0);
  t.regex(out.err, /^warning: the login does not end at its issuer: /);
  t.deepEqual(
    readdirSync(join(home, 'memoir')).filter((name) => name.startsWith('bob')),
    [],
  );
});

test('commands load nothing of all this unless an issuer is asked', (t) => {
  const bundled = fileURLToPath(new URL('../../src/bundled/', import.meta.url));
  const chunks = readdirSync(bundled).filter((name) => name.startsWith('src-cli-main') && name.endsWith('.js'));
  const textOf = (name: string) => readFileSync(join(bundled, name), 'utf8');
  const needy = chunks.filter((name) =>
    /^import .* from ["']openid-client["'];$|^\} from ["']openid-client["'];$/m.test(textOf(name)),
  );
  t.is(needy.length, 1);
  t.false(needy.includes('src-cli-main.js'));
  for (const name of chunks) t.notRegex(textOf(name), new RegExp(`from ["']\\./${needy[0]}["']`), name);
});
