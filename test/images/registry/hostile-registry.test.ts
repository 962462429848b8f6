import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import test, { type ExecutionContext } from 'ava';
import { registryConfig } from '../../../src/config/registries.js';
import { systemEdge } from '../../../src/edge.js';
import { openRegistries } from '../../../src/images/registry/registries.js';
import { account, closed, digestOf, listening } from '../../support/docker-registry.js';

// A real registry does none of this, so a server of our own misbehaves.

const manifest = Buffer.from('{"schemaVersion":2}');
const digest = digestOf(manifest);
const type = 'application/vnd.oci.image.manifest.v1+json';
const good = { 'content-type': type, 'docker-content-digest': digest };
const other = `sha256:${'1'.repeat(64)}`;

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** A server that notes what it was asked. */
async function serve(t: ExecutionContext, handler: Handler) {
  const asked: { method: string; url: string; authorization: string | undefined; accept: string | undefined }[] = [];
  const server = createServer((request, response) => {
    const { authorization, accept } = request.headers;
    asked.push({ method: request.method ?? '', url: request.url ?? '', authorization, accept });
    handler(request, response);
  });
  const host = `127.0.0.1:${await listening(server)}`;
  t.teardown(() => closed(server));
  return { host, asked };
}

const answer =
  (status: number, headers: Record<string, string> = {}, body: Buffer | string = manifest): Handler =>
  ({ method }, response) =>
    void response.writeHead(status, headers).end(method === 'HEAD' ? undefined : body);

function ask(host: string, settings: object = {}, reference = 'v1') {
  const config = { team: registryConfig.parse({ url: `http://${host}`, ...settings }) };
  const registry = openRegistries(config, systemEdge).of('team/app');
  return registry ? registry.ask('team/app', reference) : Promise.reject(new Error('no registry'));
}

async function problem(t: ExecutionContext, host: string, settings: object = {}, reference = 'v1') {
  const error = await t.throwsAsync(ask(host, settings, reference), { name: 'RegistryProblem' });
  const message = error?.message ?? '';
  t.notRegex(message, new RegExp(account.password));
  return message;
}

test('a known digest costs one HEAD; a new one is read and checked', async (t) => {
  const { host, asked } = await serve(t, answer(200, good));
  const registry = openRegistries({ team: registryConfig.parse({ url: `http://${host}` }) }, systemEdge).of('team/app');
  for (let i = 0; i < 3; i++) t.is((await registry?.ask('team/app', 'v1'))?.hash, digest);
  t.deepEqual(
    asked.map(({ method, url }) => `${method} ${url}`),
    ['HEAD', 'GET', 'HEAD', 'HEAD'].map((method) => `${method} /v2/team/app/manifests/v1`),
  );
  t.regex(asked[0]?.accept ?? '', /image\.index\.v1\+json.*manifest\.list\.v2\+json/);
});

test('a registry that knows no HEAD and gives no digest is asked all the same', async (t) => {
  const { host } = await serve(t, (request, response) =>
    answer(request.method === 'HEAD' ? 405 : 200, { 'content-type': `${type}; charset=utf-8` })(request, response),
  );
  t.is((await ask(host))?.hash, digest);
});

for (const [what, handler, message, reference] of [
  [
    'says a digest that its manifest has not',
    answer(200, { ...good, 'docker-content-digest': other }),
    /but it is sha256:/,
  ],
  [
    'gives another manifest than was asked for',
    answer(200, { 'content-type': type }),
    /^it answers with manifest/,
    other,
  ],
  ['gives a page', answer(200, { 'content-type': 'text/html' }), /of type "text\/html"/],
  ['gives a manifest that is too large', answer(200, good, Buffer.alloc(4 * 1024 ** 2 + 1)), /more than 4194304 bytes/],
  ['is out of order', answer(503), /status 503/],
  ['limits the rate', answer(429), /status 429/],
  ['denies', answer(403), /status 403/],
  ['asks for nothing known', answer(401, { 'www-authenticate': 'Negotiate' }), /wants to know who asks/],
  ['hides who is to be asked', answer(401), /wants to know who asks/],
  [
    'names no server for tokens',
    answer(401, { 'www-authenticate': 'Bearer realm="token"' }),
    /"token" for tokens, which is no URL/,
  ],
  ['redirects to itself', answer(302, { location: '/v2/again' }), /redirects more than 3 times/],
  ['redirects to nowhere', answer(302, { location: 'http://[' }), /no URL/],
  [
    'redirects to another machine',
    answer(307, { location: 'http://169.254.169.254/latest' }),
    /"169.254.169.254", which is not among its hosts/,
  ],
  ['redirects to a file', answer(302, { location: 'file:///etc/passwd' }), /not among its hosts/],
  ['sends a user along', answer(302, { location: 'http://a:b@127.0.0.1:1/' }), /not among its hosts/],
] as const) {
  test(`not believed: a registry that ${what}`, async (t) => {
    const { host } = await serve(t, handler);
    t.regex(await problem(t, host, {}, reference ?? 'v1'), message);
  });
}

test('one that does not answer, or never ends, is left after the configured time, and not asked again at once', async (t) => {
  const { host, asked } = await serve(t, ({ method }, response) => {
    response.writeHead(200, good);
    if (method === 'HEAD') response.end();
    else response.write('{');
  });
  const config = { team: registryConfig.parse({ url: `http://${host}`, timeout: 1 }) };
  const registry = openRegistries(config, systemEdge).of('team/app');
  const began = performance.now();
  for (let i = 0; i < 20; i++)
    await t.throwsAsync(registry?.ask('team/app', 'v1') as Promise<unknown>, { message: /in time/ });
  t.true(asked.length <= 2, `${asked.length} requests`);
  t.true(performance.now() - began < 15_000);
  await t.throwsAsync(ask((await serve(t, () => {})).host, { timeout: 0.1 }), { message: /in time/ });
});

test('the password goes to the server for tokens only if that is configured, and the token to the registry alone', async (t) => {
  const thief = await serve(t, answer(200, { 'content-type': 'application/json' }, '{"token":"x"}'));
  const blob = await serve(t, answer(200, good));
  const tokens = await serve(t, answer(200, { 'content-type': 'application/json' }, '{"access_token":"t0ken"}'));
  let realm = `http://${thief.host}/t`;
  const registry = await serve(t, (request, response) => {
    if (request.headers.authorization !== 'Bearer t0ken') {
      const challenge = `Bearer realm="${realm}",service="s\\"1",scope="repository:team/app:pull,push,delete"`;
      return answer(401, { 'www-authenticate': challenge })(request, response);
    }
    return answer(307, { location: `http://${blob.host}/blob` })(request, response);
  });
  const settings = { ...account, hosts: [tokens.host, blob.host] };
  t.regex(await problem(t, registry.host, settings), /not among its hosts/);
  t.deepEqual(thief.asked, []);
  t.true(registry.asked.every(({ authorization }) => authorization === undefined));

  realm = `http://${tokens.host}/t?a=1`;
  t.is((await ask(registry.host, settings))?.hash, digest);
  const [first] = tokens.asked;
  t.is(first?.authorization, `Basic ${Buffer.from(`${account.username}:${account.password}`).toString('base64')}`);
  const query = new URL(first?.url ?? '', 'http://x').searchParams;
  t.deepEqual([query.get('a'), query.get('service'), query.get('scope')], ['1', 's"1', 'repository:team/app:pull']);
  t.true(blob.asked.length > 0 && blob.asked.every(({ authorization }) => authorization === undefined));
});

test('what is no token is not sent', async (t) => {
  for (const body of [
    '',
    'null',
    '[]',
    '{}',
    '{"token":""}',
    '{"token":"a b"}',
    '{"token":"a\\r\\nx: y"}',
    '{"token":1}',
  ]) {
    const { host, asked } = await serve(t, (request, response) => {
      const realm = `http://${request.headers.host}/token`;
      if (request.url?.startsWith('/token')) return answer(200, {}, body)(request, response);
      return answer(401, { 'www-authenticate': `Bearer realm="${realm}"` })(request, response);
    });
    t.regex(await problem(t, host, account), /holds none/, body);
    t.is(asked.length, 2);
  }
});

test('who comes while a question is under way gets an answer that is not older than his call', async (t) => {
  let tag = 0;
  const { host, asked } = await serve(t, ({ method }, response) => {
    const body = Buffer.from(JSON.stringify({ tag }));
    const headers = { 'content-type': type, 'docker-content-digest': digestOf(body) };
    setImmediate(() => response.writeHead(200, headers).end(method === 'HEAD' ? undefined : body));
  });
  const registry = openRegistries({ team: registryConfig.parse({ url: `http://${host}` }) }, systemEdge).of('team/app');
  const first = registry?.ask('team/app', 'v1');
  while (asked.length < 2) await new Promise((resolve) => setImmediate(resolve));
  tag = 1;
  const later = await Promise.all(Array.from({ length: 50 }, () => registry?.ask('team/app', 'v1')));
  t.deepEqual([...new Set(later.map((one) => one?.hash))], [digestOf(Buffer.from('{"tag":1}'))]);
  await first;
  t.true(asked.length <= 4, `${asked.length} requests for 51 calls`);
});

test('the registry of the longest prefix is asked, by the name without its domain', async (t) => {
  const servers = await Promise.all(Array.from({ length: 4 }, () => serve(t, answer(404))));
  const [one, two, three, all] = servers.map(({ host }) => registryConfig.parse({ url: `http://${host}` }));
  if (!one || !two || !three || !all) return t.fail();
  const config = { team: one, 'team/deep': two, 'registry.example:5000': three, '*': all };
  const registries = openRegistries(config, systemEdge);
  for (const [repository, server, path] of [
    ['team', 0, 'team'],
    ['team/app', 0, 'team/app'],
    ['team/deeper', 0, 'team/deeper'],
    ['team/deep', 1, 'team/deep'],
    ['team/deep/er', 1, 'team/deep/er'],
    ['registry.example:5000/team/deep', 2, 'team/deep'],
    ['teams/app', 3, 'teams/app'],
    ['localhost/app', 3, 'app'],
  ] as const) {
    await registries.of(repository)?.ask(repository, 'v1');
    t.is(servers[server]?.asked.at(-1)?.url, `/v2/${path}/manifests/v1`, repository);
    for (const { asked } of servers) asked.splice(0);
  }
  t.is(openRegistries({ team: one }, systemEdge).of('teams'), undefined);
});
