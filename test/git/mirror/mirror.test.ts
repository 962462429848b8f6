import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { MemoirError } from '../../../src/domain/errors.js';
import type { HistoryLog } from '../../../src/git/graph/history.js';
import type { RemoteOptions } from '../../../src/git/mirror/open-remote.js';
import { openRepositories, type RepositoriesOptions } from '../../../src/git/repositories.js';
import { type GitHttpServer, serveGit } from '../../support/git-http-server.js';
import { gitEnvironment, makeRepository, type TestRepository } from '../../support/git-repository.js';

type Setup = {
  origin: TestRepository;
  server: GitHttpServer;
  commits: readonly [string, string];
  directory: string;
  url: string;
};

async function setUp(t: ExecutionContext): Promise<Setup> {
  const origin = makeRepository();
  t.teardown(origin.dispose);
  const commits = [origin.commit({ file: '1' }), origin.commit({ file: '2' })] as const;
  origin.git('tag', '-a', '-m', 'x', 'v1', 'main~1');
  const server = await serveGit(dirname(origin.path));
  t.teardown(() => server.close());
  const directory = mkdtempSync(join(tmpdir(), 'memoir-mirror-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return { origin, server, commits, directory, url: `${server.url}/${basename(origin.path)}/.git` };
}

const local: Partial<RemoteOptions> = {
  allowedHosts: ['127.0.0.1'],
  allowHttp: true,
  allowPrivateAddresses: true,
  refreshAfter: 0,
  silence: 120_000,
};

async function open(
  t: ExecutionContext,
  { url, directory }: Setup,
  remotes: Partial<RemoteOptions> = {},
  more: RepositoriesOptions = {},
) {
  const options = { directory, patience: 100_000, remotes: { ...local, ...remotes }, ...more };
  const repositories = await openRepositories({ r: { url } }, options);
  t.teardown(() => repositories.close());
  return repositories;
}

const named = (refspec: string) => ({ refspec, field: 'script_version' });

async function unavailable(t: ExecutionContext, promise: Promise<unknown>): Promise<string> {
  const error = await t.throwsAsync(promise, { instanceOf: MemoirError });
  t.is(error?.code, 'UNAVAILABLE');
  t.is(error?.reason, 'MIRROR_UNAVAILABLE');
  t.true(error?.message.includes('"r"'), error?.message);
  return error?.message ?? '';
}

test('resolves and ranges over a remote repository, and sees what moved, came and went', async (t) => {
  const setup = await setUp(t);
  const { origin, commits } = setup;
  const repositories = await open(t, setup);
  for (const text of [
    'main',
    'HEAD',
    '@~1',
    'v1',
    'v1^{}',
    'refs/heads/main',
    commits[0]?.slice(0, 9) ?? '',
    ':/Commit 1',
  ]) {
    t.is(
      await repositories.resolve('r', text),
      origin.git('rev-parse', text.includes('v1') ? 'v1^{commit}' : text),
      text,
    );
  }
  t.is((await repositories.range('r', { end: named('main'), minimum: named('main~1') })).size, 2);
  const third = origin.commit({ file: '3' });
  origin.git('branch', 'side', 'main~2');
  t.is(await repositories.resolve('r', 'main'), third);
  t.is(await repositories.resolve('r', 'side'), commits[0]);
  t.is((await repositories.range('r', { end: named('main'), minimum: named('side') })).size, 3);
  origin.git('branch', '-D', 'side');
  origin.git('tag', '-d', 'v1');
  origin.git('reset', '--quiet', '--hard', 'main~1');
  t.is(await repositories.resolve('r', 'main'), commits[1]);
  for (const gone of ['side', 'v1']) {
    t.is(
      (await t.throwsAsync(repositories.resolve('r', gone), { instanceOf: MemoirError }))?.reason,
      'UNRESOLVABLE_REFSPEC',
    );
  }
});

/** Where the mirror of the only repository is served from. */
function servedIn(directory: string): string {
  const [own = ''] = readdirSync(directory);
  return join(directory, own, 'served.git');
}

/** Every ref of a repository, by the git program. */
function refsOf(repository: TestRepository): Record<string, string> {
  const lines = repository.git('for-each-ref', '--format=%(refname) %(objectname)').split('\n');
  return Object.fromEntries(lines.filter((line) => line !== '').map((line) => line.split(' ') as [string, string]));
}

test('names that were directories of names become names, and the other way, as after git fetch --prune', async (t) => {
  const setup = await setUp(t);
  const { origin, directory } = setup;
  const clone = makeRepository({ bare: true });
  t.teardown(clone.dispose);
  const repositories = await open(t, setup);
  const steps: readonly (readonly string[])[] = [
    ['refs/heads/topic/a', 'refs/tags/v/1', 'refs/heads/deep/er/x'],
    ['refs/heads/topic', 'refs/tags/v', 'refs/heads/deep'],
    ['refs/heads/topic/b/c', 'refs/tags/v/2/3', 'refs/heads/deep/er/x'],
    [],
  ];
  let before: readonly string[] = [];
  for (const names of steps) {
    for (const name of before) origin.git('update-ref', '-d', name);
    origin.commit({ file: names.join() });
    for (const name of names) origin.git('update-ref', name, 'HEAD');
    before = names;
    clone.git(
      'fetch',
      '--quiet',
      '--prune',
      '--prune-tags',
      origin.path,
      '+refs/heads/*:refs/heads/*',
      '+refs/tags/*:refs/tags/*',
    );
    await repositories.resolve('r', 'HEAD');
    const served = execFileSync(
      'git',
      ['--git-dir', servedIn(directory), 'for-each-ref', '--format=%(refname) %(objectname)'],
      {
        encoding: 'utf8',
        env: gitEnvironment(),
      },
    );
    const expected = Object.entries(refsOf(clone)).map(([name, id]) => `${name} ${id}`);
    t.deepEqual(served.trim().split('\n'), expected);
    for (const name of names)
      t.is(await repositories.resolve('r', name), origin.git('rev-parse', `${name}^{commit}`), name);
  }
});

test('where HEAD of the remote names no branch, only HEAD cannot be resolved; a detached HEAD can', async (t) => {
  const setup = await setUp(t);
  const { origin, commits } = setup;
  const repositories = await open(t, setup);
  origin.git('branch', 'side', 'main~1');
  origin.git('symbolic-ref', 'HEAD', 'refs/heads/gone');
  for (let round = 0; round < 2; round++) {
    t.is(await repositories.resolve('r', 'main'), commits[1]);
    t.is(await repositories.resolve('r', 'side'), commits[0]);
    t.is(await repositories.resolve('r', 'v1'), commits[0]);
    for (const text of ['HEAD', '@', '@~1']) {
      const error = await t.throwsAsync(repositories.resolve('r', text), { instanceOf: MemoirError });
      t.is(error?.reason, 'UNRESOLVABLE_REFSPEC', error?.message);
    }
    // A branch of any name makes no HEAD of it.
    origin.git('branch', '--force', 'unborn', 'main');
  }
  const lonely = origin.git('commit-tree', '-m', 'lonely', 'main^{tree}');
  origin.git('update-ref', '--no-deref', 'HEAD', lonely);
  t.is(await repositories.resolve('r', 'HEAD'), lonely);
  origin.git('symbolic-ref', 'HEAD', 'refs/heads/side');
  t.is(await repositories.resolve('r', '@'), commits[0]);
});

test('tags alone, a default branch that is renamed, and a HEAD outside of the branches are what git has', async (t) => {
  const setup = await setUp(t);
  const { origin, commits } = setup;
  const repositories = await open(t, setup);
  const ask = (text: string) => {
    try {
      return origin.git('rev-parse', '--verify', '--quiet', `${text}^{commit}`);
    } catch {
      return undefined;
    }
  };
  const notes = origin.git('commit-tree', '-m', 'not of any branch', 'main^{tree}');
  let found = 0;
  for (const change of [
    () => undefined,
    () => origin.git('branch', '-m', 'main', 'trunk'),
    () => origin.git('branch', '-m', 'trunk', 'trunk/main'),
    () => origin.git('symbolic-ref', 'HEAD', 'refs/tags/v1'),
    () => origin.git('update-ref', 'refs/heads/main', 'v1^{commit}'),
    // No branch at all: the HEAD is one that is not there.
    () => {
      origin.git('symbolic-ref', 'HEAD', 'refs/heads/main');
      for (const ref of Object.keys(refsOf(origin)).filter((name) => name.startsWith('refs/heads/'))) {
        origin.git('update-ref', '-d', ref);
      }
      origin.git('tag', '-a', '-m', 'x', 'only', commits[1] ?? '');
    },
    () => {
      origin.git('update-ref', 'refs/notes/x', notes);
      origin.git('symbolic-ref', 'HEAD', 'refs/notes/x');
    },
    () => origin.git('symbolic-ref', 'HEAD', 'refs/heads/only'),
    () => origin.git('update-ref', 'refs/heads/only', commits[0] ?? ''),
  ]) {
    change();
    for (const text of [
      'HEAD',
      '@',
      'HEAD~1',
      'main',
      'trunk',
      'trunk/main',
      'v1',
      'only',
      'tags/only',
      'heads/only',
    ]) {
      const ours = await repositories.resolve('r', text).catch((error: unknown) => {
        if (!(error instanceof MemoirError) || error.reason !== 'UNRESOLVABLE_REFSPEC') throw error;
        return undefined;
      });
      t.is(ours, ask(text), text);
      if (ours !== undefined) found++;
    }
  }
  t.true(found > 30, `${found}`);
});

test('a mirror that cannot be written says so without a path of this machine', async (t) => {
  const setup = await setUp(t);
  const { directory, origin } = setup;
  const repositories = await open(t, setup);
  await repositories.resolve('r', 'main');
  origin.commit({ file: 'more' });
  const fetched = join(dirname(servedIn(directory)), 'fetched.git');
  rmSync(join(fetched, 'refs'), { recursive: true });
  writeFileSync(join(fetched, 'refs'), 'a file where a directory is needed');
  const message = await unavailable(t, repositories.resolve('r', 'main'));
  t.false(message.includes(directory), message);
});

test('many callers share one fetch, and what is fresh is not fetched again; a known hash needs no fetch', async (t) => {
  const setup = await setUp(t);
  const { server, commits } = setup;
  const repositories = await open(t, setup, { refreshAfter: 1_000_000 });
  await Promise.all(Array.from({ length: 50 }, () => repositories.resolve('r', 'main')));
  const asked = server.requests.length;
  t.is(server.requests.filter((request) => request.startsWith('GET')).length, 1);
  await repositories.resolve('r', 'v1');
  t.is(server.requests.length, asked);
  await repositories.close();
  const again = await open(t, setup);
  server.instead = (_, response) => response.writeHead(500).end();
  t.is(await again.resolve('r', commits[0] ?? ''), commits[0]);
  t.is(server.requests.length, asked);
  await unavailable(t, again.resolve('r', 'main'));
});

test('a failed fetch is unavailable, never stale, unless that is accepted, and then only up to an age', async (t) => {
  const setup = await setUp(t);
  const { server, commits } = setup;
  let now = 0;
  const edge = { now: () => Date.now(), monotonic: () => now };
  const strict = await open(t, setup, {}, { edge });
  const lenient = await open(
    t,
    { ...setup, directory: join(setup.directory, 'lenient') },
    { acceptStale: 60_000 },
    { edge },
  );
  for (const repositories of [strict, lenient]) t.is(await repositories.resolve('r', 'main'), commits[1]);
  server.instead = (_, response) => response.writeHead(503).end('down');
  now = 50_000;
  await unavailable(t, strict.resolve('r', 'main'));
  t.is(await lenient.resolve('r', 'main'), commits[1]);
  now = 61_000;
  await unavailable(t, lenient.resolve('r', 'main'));
  server.instead = undefined;
  for (const repositories of [strict, lenient]) t.is(await repositories.resolve('r', 'main'), commits[1]);
});

test('a transfer that breaks off leaves what was served before', async (t) => {
  const setup = await setUp(t);
  const { origin, server, commits } = setup;
  const repositories = await open(t, setup, { acceptStale: 1_000_000 });
  t.is(await repositories.resolve('r', 'main'), commits[1]);
  const third = origin.commit({ file: '3' });
  const serve = server.url;
  server.instead = (request, response) => {
    if (request.method === 'POST') {
      response.writeHead(200, { 'content-type': 'application/x-git-upload-pack-result' });
      response.write('0008NAK\n');
      setImmediate(() => response.destroy());
      return;
    }
    const body = `001e# service=git-upload-pack\n0000${pkt(`${third} HEAD\0multi_ack_detailed side-band-64k ofs-delta symref=HEAD:refs/heads/main\n`)}${pkt(`${third} refs/heads/main\n`)}0000`;
    response.writeHead(200, { 'content-type': 'application/x-git-upload-pack-advertisement' }).end(body);
  };
  t.is(await repositories.resolve('r', 'main'), commits[1]);
  server.instead = undefined;
  t.is(await repositories.resolve('r', 'main'), third);
  t.truthy(serve);
});

for (const [how, cut] of [
  ['breaks off', (response: ServerResponse) => setImmediate(() => response.destroy())],
  ['ends too early', (response: ServerResponse) => response.end()],
] as const) {
  test(`a list of refs that ${how} takes none away`, async (t) => {
    const setup = await setUp(t);
    const { origin, server, commits } = setup;
    const repositories = await open(t, setup, { acceptStale: 1_000_000 });
    t.is(await repositories.resolve('r', 'v1'), commits[0]);
    const main = origin.git('rev-parse', 'main');
    server.instead = (request, response) => {
      if (request.method === 'POST') return void response.writeHead(500).end();
      response.writeHead(200, { 'content-type': 'application/x-git-upload-pack-advertisement' });
      response.write(
        `001e# service=git-upload-pack\n0000${pkt(`${main} HEAD\0side-band-64k symref=HEAD:refs/heads/main\n`)}${pkt(`${main} refs/heads/main\n`)}`,
      );
      cut(response);
    };
    const strict = await open(t, setup);
    t.regex(await unavailable(t, strict.resolve('r', 'main')), /ends within its list of refs|aborted/);
    t.is(await repositories.resolve('r', 'v1'), commits[0]);
  });
}

const pkt = (text: string) => (text.length + 4).toString(16).padStart(4, '0') + text;

const answers: Record<string, [Partial<RemoteOptions>, NonNullable<GitHttpServer['instead']>, RegExp]> = {
  'too much': [
    { bytes: 100_000 },
    (_, response) =>
      void response
        .writeHead(200, { 'content-type': 'application/x-git-upload-pack-advertisement' })
        .end(Buffer.alloc(1_000_000, 0x30)),
    /./,
  ],
  'nothing at all': [{ silence: 200 }, () => undefined, /no answer for 200 ms/],
  'nothing before the deadline': [{ deadline: 300 }, () => undefined, /longer than 300 ms/],
  'a redirect to a host that is not allowed': [
    {},
    (_, response) => void response.writeHead(302, { location: 'http://other.example/x' }).end(),
    /"other.example" is not allowed/,
  ],
  'a redirect to a file': [
    {},
    (_, response) => void response.writeHead(302, { location: 'file:///etc/passwd' }).end(),
    /scheme "file:" is not allowed/,
  ],
  'redirects without end': [
    {},
    (request, response) => void response.writeHead(302, { location: request.url ?? '' }).end(),
    /more than 5 times/,
  ],
  'something that is not git': [{}, (_, response) => void response.writeHead(200).end('<html>'), /./],
  'a demand for credentials': [{}, (_, response) => void response.writeHead(401).end(), /./],
};

for (const [what, [remotes, instead, expected]] of Object.entries(answers)) {
  test(`a server that answers ${what} makes the repository unavailable`, async (t) => {
    const setup = await setUp(t);
    setup.server.instead = instead;
    const repositories = await open(t, setup, remotes);
    t.regex(await unavailable(t, repositories.resolve('r', 'main')), expected);
    t.regex(await unavailable(t, repositories.range('r', { end: named('main') })), expected);
  });
}

test('credentials go to the server that is configured, and to nobody and nowhere else', async (t) => {
  const setup = await setUp(t);
  const { server, commits } = setup;
  const other = await serveGit(tmpdir());
  t.teardown(() => other.close());
  const seen: (string | undefined)[] = [];
  other.instead = (request, response) => {
    seen.push(request.headers.authorization);
    response.writeHead(404).end();
  };
  const secret = 's3cret-w0rd';
  const expected = `Basic ${Buffer.from(`memoir:${secret}`).toString('base64')}`;
  const lines: string[] = [];
  const record = (facts: object, message: string) => void lines.push(JSON.stringify(facts) + message);
  const log: HistoryLog = { info: record, warn: record };
  const options = { directory: setup.directory, log, remotes: local };
  const repositories = await openRepositories(
    { r: { url: setup.url, credentials: { username: 'memoir', password: secret } } },
    options,
  );
  t.teardown(() => repositories.close());
  const { instead } = server;
  server.instead = (request, response) => {
    if (request.headers.authorization !== expected) return void response.writeHead(401).end();
    server.instead = instead;
    response.writeHead(307, { location: `${other.url}${request.url}` }).end();
  };
  const message = await unavailable(t, repositories.resolve('r', 'main'));
  t.deepEqual(seen, [undefined]);
  server.instead = undefined;
  t.is(await repositories.resolve('r', 'main'), commits[1]);
  t.false([...lines, message].some((line) => line.includes(secret) || line.includes(expected.slice(6))));
});

test('two mirrors have nothing of each other', async (t) => {
  const one = await setUp(t);
  const two = makeRepository();
  t.teardown(two.dispose);
  const foreign = two.commit({ file: 'of the second' }, 'Another history');
  const url = `${one.server.url}/${basename(two.path)}/.git`;
  const repositories = await openRepositories(
    { one: { url: one.url }, two: { url } },
    { directory: one.directory, remotes: local },
  );
  t.teardown(() => repositories.close());
  t.is(await repositories.resolve('one', 'main'), one.commits[1]);
  t.is(await repositories.resolve('two', 'main'), foreign);
  for (const text of [foreign, foreign.slice(0, 10), ':/Another']) {
    t.is(
      (await t.throwsAsync(repositories.resolve('one', text), { instanceOf: MemoirError }))?.reason,
      'UNRESOLVABLE_REFSPEC',
    );
  }
});

const urls = [
  ...[
    'http://example.org/x',
    'https://other.org/x',
    'https://example.org.evil.com/x',
    'https://10.0.0.1/x',
    'https://[::1]/x',
    'https://127.1/x',
  ],
  ...[
    'https://2130706433/x',
    'https://user:secret@example.org/x',
    'file:///etc',
    'git://example.org/x',
    'ssh://example.org/x',
    '--upload-pack=x',
    '',
  ],
  ...['https://[::ffff:127.0.0.1]/x', 'https://0x7f.1/x', 'ext::sh -c id'],
];

for (const url of urls) {
  test(`a server does not start with the URL ${JSON.stringify(url)}`, async (t) => {
    const allowedHosts = ['example.org', '10.0.0.1', '[::1]', '127.0.0.1', '[::ffff:7f00:1]'];
    const error = await t.throwsAsync(
      openRepositories({ r: { url } }, { directory: '/nonexistent', remotes: { allowedHosts } }),
      {
        instanceOf: MemoirError,
      },
    );
    t.is(error?.reason, 'REMOTE_NOT_ALLOWED');
    t.false(error?.message.includes('secret'));
  });
}

test('a name with a private address is refused when it is connected to', async (t) => {
  const setup = await setUp(t);
  const url = setup.url.replace('127.0.0.1', 'localhost');
  const repositories = await open(t, { ...setup, url }, { allowedHosts: ['localhost'], allowPrivateAddresses: false });
  t.regex(await unavailable(t, repositories.resolve('r', 'main')), /localhost has the address .*, which is not public/);
  t.is(setup.server.requests.length, 0);
});
