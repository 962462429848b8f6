import { chownSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { pino } from 'pino';
import { makeToken, readTokens, revokeTokens } from '../../src/auth/token-file.js';
import { serverConfig } from '../../src/config.js';
import { canMeet, parseTemplate, principalBy } from '../../src/domain/callers/principal.js';
import { systemEdge } from '../../src/edge.js';
import { connect } from '../../src/rpc/client.js';
import { openAdmission } from '../../src/rpc/http2/admission.js';
import { authorising, checkedAddress, openDoor } from '../../src/serving/door.js';

const dir = mkdtempSync(join(tmpdir(), 'memoir-door-'));
test.after.always(() => rmSync(dir, { recursive: true, force: true }));
const tokens = join(dir, 'tokens.json');
writeFileSync(tokens, '{"tokens": []}');
const keys = join(dir, 'keys.json');
writeFileSync(keys, '{"keys": []}');

const opened = async (settings: object) => {
  const lines: string[] = [];
  const config = serverConfig.parse({ data_dir: dir, ...settings });
  const logger = pino({}, { write: (line: string) => void lines.push(line) });
  const door = await openDoor(config, checkedAddress(config), systemEdge, logger);
  door.close();
  return { door, lines };
};
const metadata = { get: () => ['ada'] } as never;

test('a port without TLS is for this machine alone, unless the settings say otherwise, which is logged', async (t) => {
  for (const listen of [
    '0.0.0.0:0',
    '[::]:0',
    '192.0.2.7:1',
    'memoir.example.org:1',
    '[::ffff:127.0.0.1]:1',
    '127.1:1',
  ]) {
    await t.throwsAsync(
      () => opened({ listen }),
      { message: /is not a loopback address: what is sent there can be read/ },
      listen,
    );
    const { door, lines } = await opened({ listen, plaintext_beyond_loopback: true });
    t.regex(lines.join(''), /plaintext_beyond_loopback.*everybody is/);
    t.is(door.authenticate({ metadata }), 'anonymous');
    t.regex(
      (await opened({ listen, plaintext_beyond_loopback: true, auth: { tokens } })).lines.join(''),
      /on the way"/,
    );
  }
  for (const listen of ['127.0.0.1:0', '127.7.7.7:0', '[::1]:0', 'localhost:0']) {
    const { door, lines } = await opened({ listen });
    t.deepEqual(lines, []);
    t.is(door.authenticate({ metadata }), 'ada');
    t.is(door.admission, undefined);
  }
  await t.throwsAsync(() => opened({ listen: 'nonsense' }), { message: /is not host:port/ });
  await t.throwsAsync(() => opened({ listen: '0.0.0.0:0', tls: { cert: 'c', key: 'k' } }), {
    message: /nothing would prove who calls: give auth.tokens, auth.issuers or tls.client_ca/,
  });
});

test('files that cannot be used keep a server from starting, and are named', async (t) => {
  const file = (text: string) => {
    const path = join(dir, 'bad');
    writeFileSync(path, text);
    return path;
  };
  const issuer = (jwks: string) => ({ issuers: { a: { issuer: 'a', jwks, audience: ['m'] } } });
  for (const [settings, message] of [
    [{ tls: { cert: join(dir, 'none'), key: keys } }, /none" cannot be read/],
    [{ tls: { cert: keys, key: keys } }, /keys.json" has no certificate/],
    [{ auth: { tokens: join(dir, 'none') } }, /file of tokens ".*none" cannot be used/],
    [{ auth: { tokens: file('{"tokens": [{"id": "x"}]}') } }, /file of tokens ".*bad" cannot be used/],
    [{ auth: issuer(file('<html>')) }, /the keys ".*bad" of the issuer a cannot be used: it is no JSON/],
    [
      { auth: { issuers: { a: issuer(keys).issuers.a, b: issuer(keys).issuers.a } } },
      /two of auth.issuers have the issuer "a"/,
    ],
  ] as const) {
    await t.throwsAsync(() => opened(settings), { message });
  }
});

test('two sources that can give the same principal are refused', async (t) => {
  const issuer = (principal: string) => ({ issuer: principal, jwks: keys, audience: ['m'], principal });
  await t.throwsAsync(() => opened({ auth: { tokens, token_principal: 'x:{}', issuers: { a: issuer('x:y:{}') } } }), {
    message: /auth.tokens and auth.issuers.a can give the same principal, by "x:\{\}" and "x:y:\{\}"/,
  });
  await t.notThrowsAsync(() => opened({ auth: { tokens, issuers: { a: issuer('a:{}'), b: issuer('b:{}') } } }));
});

test('templates that cannot meet give different principals, whatever the names', (t) => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', ':'), maxLength: 3 });
  fc.assert(
    fc.property(text, text, text, text, text, text, (before, after, otherBefore, otherAfter, name, other) => {
      const [one, another] = [parseTemplate(`${before}{}${after}`), parseTemplate(`${otherBefore}{}${otherAfter}`)];
      t.true(principalBy(one, name) !== principalBy(another, other) || canMeet(one, another));
    }),
  );
});

test('a file of tokens keeps no token, and is for its owner alone', async (t) => {
  const path = join(dir, 'made.json');
  const now = Date.UTC(2026, 0, 1);
  // Whoever comes while another changes it waits, and loses nothing of it.
  const [one, two] = await Promise.all(['ci', 'cd'].map((name) => makeToken(path, name, { now, lifetimeMs: 1_000 })));
  if (!one || !two) return t.fail();
  t.deepEqual(
    readTokens(path)
      .map(({ name }) => name)
      .sort(),
    ['cd', 'ci'],
  );
  const text = JSON.stringify(readTokens(path));
  t.false(text.includes(one.token));
  t.true(text.includes(one.made.sha256));
  t.is(statSync(path).mode & 0o777, 0o600);
  await t.throwsAsync(makeToken(path, 'two words', { now, lifetimeMs: 1 }), { message: /"two words" is not/ });
  // What a process left that was killed is named.
  const left = join(dir, 'left.json');
  writeFileSync(`${left}.lock`, '');
  await t.throwsAsync(makeToken(left, 'ci', { now, lifetimeMs: 1 }), {
    message: /the file of tokens "\S+left.json" is locked by "\S+left.json.lock": .* or was killed .* remove that/,
  });
  t.is((await revokeTokens(path, ({ name }) => name === 'ci', now)).length, 1);
  t.is((await revokeTokens(path, ({ name }) => name === 'ci', now)).length, 0);
  t.like(
    readTokens(path).find(({ name }) => name === 'ci'),
    { revoked_at: '2026-01-01T00:00:00.000Z' },
  );
});

test('a file of tokens stays of whom it is, also where root changes it', async (t) => {
  if (process.geteuid?.() !== 0) {
    t.pass('only root can change it for another');
    return;
  }
  const path = join(dir, 'of-another.json');
  writeFileSync(path, '{"tokens": []}', { mode: 0o600 });
  chownSync(path, 12_345, 12_346);
  await makeToken(path, 'ci', { now: Date.now(), lifetimeMs: 1_000 });
  await revokeTokens(path, () => true, Date.now());
  const { uid, gid, mode } = statSync(path);
  t.deepEqual([uid, gid, mode & 0o777], [12_345, 12_346, 0o600]);
});

test('no token is sent in plain text to another machine', (t) => {
  const token = () => 'secret';
  t.throws(() => connect('memoir.example.org:1', undefined, { token }), {
    message: /is not sent to "memoir.example.org:1" without TLS.*grpcs:/,
  });
  connect('127.0.0.1:1', undefined, { token }).close();
  connect('memoir.example.org:1', undefined, { token, tls: true }).close();
});

test('a token goes no further than to where it is checked', (t) => {
  const credential = {
    kind: 'token',
    id: 'a',
    principal: 'token:ci',
    groups: [],
    expiresAt: 1,
    stands: () => true,
  } as const;
  const seen: (string | undefined)[] = [];
  const admission = openAdmission(
    (_session, { authorization }) => {
      seen.push(authorization);
      return credential;
    },
    () => false,
  );
  const headers: IncomingHttpHeaders = { ':path': '/a/B', authorization: 'Bearer secret', te: 'trailers' };
  admission.admit(
    {} as ServerHttp2Stream,
    headers,
    () => seen.push('in'),
    (error) => t.fail(error.message),
  );
  t.deepEqual(seen, ['Bearer secret', 'in']);
  t.false(JSON.stringify(headers).includes('secret'));
});

test('without a policy a service may call for anybody', (t) => {
  t.is(authorising(undefined)('ada').principal, 'ada');
});
