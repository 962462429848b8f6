import { mkdtempSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { MemoirError } from '../../../src/domain/errors.js';
import type { RemoteOptions } from '../../../src/git/mirror/open-remote.js';
import { openRepositories } from '../../../src/git/repositories.js';
import { type GitDaemon, serveDaemon } from '../../support/git-daemon.js';
import { makeRepository, type TestRepository } from '../../support/git-repository.js';

type Setup = { origin: TestRepository; clone: TestRepository; daemon: GitDaemon; directory: string; url: string };

function makeOrigin(): Pick<Setup, 'origin' | 'clone'> {
  const origin = makeRepository({ bare: true });
  const clone = makeRepository();
  clone.commit({ file: '1' });
  clone.commit({ file: '2' });
  clone.git('push', '--quiet', origin.path, 'main');
  return { origin, clone };
}

/** What no test changes. */
const common = makeOrigin();

test.after.always(() => {
  for (const repository of Object.values(common)) repository.dispose();
});

/** A bare repository behind a daemon of its own, and a clone that has pushed two commits there. */
async function setUp(t: ExecutionContext, { origin, clone } = common): Promise<Setup> {
  const daemon = await serveDaemon(dirname(origin.path));
  t.teardown(() => daemon.close());
  const directory = mkdtempSync(join(tmpdir(), 'memoir-mirror-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return { origin, clone, daemon, directory, url: `${daemon.url}/${basename(origin.path)}` };
}

async function setUpOwn(t: ExecutionContext): Promise<Setup> {
  const own = makeOrigin();
  for (const repository of Object.values(own)) t.teardown(repository.dispose);
  return setUp(t, own);
}

const local: Partial<RemoteOptions> = {
  allowedHosts: ['127.0.0.1'],
  allowGit: true,
  allowPrivateAddresses: true,
  refreshAfter: 0,
  silence: 120_000,
};

async function open(t: ExecutionContext, { url, directory }: Setup, remotes: Partial<RemoteOptions> = {}) {
  const options = { directory, patience: 100_000, remotes: { ...local, ...remotes } };
  const repositories = await openRepositories({ r: { url } }, options);
  t.teardown(() => repositories.close());
  return repositories;
}

async function unavailable(t: ExecutionContext, promise: Promise<unknown>): Promise<string> {
  const error = await t.throwsAsync(promise, { instanceOf: MemoirError });
  t.is(error?.reason, 'MIRROR_UNAVAILABLE', error?.message);
  return error?.message ?? '';
}

const named = (refspec: string) => ({ refspec, field: 'script_version' });

test('resolves and ranges over a repository of a git daemon, and sees every push', async (t) => {
  const setup = await setUpOwn(t);
  const { clone, daemon, origin } = setup;
  const repositories = await open(t, setup);
  t.is(await repositories.resolve('r', 'main'), clone.git('rev-parse', 'main'));
  t.is(daemon.connections(), 1, 'one connection has both the refs and the pack');
  for (let i = 0; i < 3; i++) {
    const commit = clone.commit({ file: `push ${i}` });
    clone.git('tag', '-a', '-m', 'x', `v${i}`);
    clone.git('push', '--quiet', '--follow-tags', origin.path, 'main');
    t.is(await repositories.resolve('r', `v${i}`), commit);
  }
  t.is((await repositories.range('r', { end: named('main'), minimum: named('main~3') })).size, 4);
  clone.git('reset', '--quiet', '--hard', 'main~2');
  const rewritten = clone.commit({ file: 'rewritten' });
  clone.git('push', '--quiet', '--force', origin.path, 'main', ':refs/tags/v0');
  t.is(await repositories.resolve('r', 'main'), rewritten);
  await t.throwsAsync(repositories.resolve('r', 'v0'), { message: /names no commit/ });
  t.is(await repositories.resolve('r', 'main'), origin.git('rev-parse', 'main'), 'with nothing new');
});

test('a history of many refs and commits comes over whole', async (t) => {
  const setup = await setUpOwn(t);
  const { clone, origin } = setup;
  const repositories = await open(t, setup);
  await repositories.resolve('r', 'main');
  for (let i = 0; i < 40; i++) clone.commit({ [`file-${i}`]: `${i}\n`.repeat(2_000) });
  clone.gitWithInput(
    Array.from({ length: 3_000 }, (_, i) => `create refs/heads/topic/${i} HEAD~${i % 40}\n`).join(''),
    'update-ref',
    '--stdin',
  );
  clone.git('push', '--quiet', '--all', origin.path);
  for (const text of ['main', 'topic/0', 'topic/1999', 'topic/2999'])
    t.is(await repositories.resolve('r', text), clone.git('rev-parse', text), text);
  t.is((await repositories.range('r', { end: named('main'), minimum: named('main~41') })).size, 42);
});

test('a repository that the daemon does not have is unavailable, in its words', async (t) => {
  const setup = await setUp(t);
  const repositories = await open(t, { ...setup, url: `${setup.daemon.url}/nothing here` });
  t.regex(await unavailable(t, repositories.resolve('r', 'main')), /it says "no such repository: .*nothing here/);
});

const id = '1'.repeat(40);
const pkt = (text: string) => (text.length + 4).toString(16).padStart(4, '0') + text;
const list = `${pkt(`${id} HEAD\0multi_ack_detailed side-band-64k ofs-delta symref=HEAD:refs/heads/main\n`)}${pkt(`${id} refs/heads/main\n`)}`;

/** Sends the same again as long as somebody listens. */
function flood(socket: Socket, bytes: string): void {
  const block = bytes.repeat(Math.ceil(65_536 / bytes.length));
  const go = () => {
    while (!socket.destroyed && socket.write(block));
  };
  socket.on('drain', go);
  go();
}

/** Lists refs, and does something else with what is asked for then. */
function afterList(answer: (socket: Socket) => void) {
  return (socket: Socket) => {
    socket.write(`${list}0000`);
    let asked = '';
    socket.on('data', (bytes: Buffer) => {
      asked += bytes.toString('latin1');
      if (asked.endsWith('0009done\n')) answer(socket);
    });
  };
}

const hostile: Record<string, [Partial<RemoteOptions>, (socket: Socket) => void, RegExp]> = {
  'never answers': [{ silence: 200 }, () => undefined, /no answer for 200 ms/],
  'drips until the deadline': [
    { deadline: 400 },
    (socket) => void setInterval(() => socket.destroyed || socket.write('0'), 50).unref(),
    /longer than 400 ms/,
  ],
  'hangs up at once': [{}, (socket) => socket.end(), /ends within its list of refs|ECONNRESET/],
  'does not speak git': [{}, (socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'), /it says "HTTP"/],
  'says a length that is none': [{}, (socket) => socket.end('0003'), /it says "0003"/],
  'lists refs without end': [{ bytes: 300_000 }, (socket) => flood(socket, pkt(`${id} refs/x\n`)), /more than 300000/],
  'ends within its list of refs': [{}, (socket) => socket.end(list), /ends within its list of refs/],
  'refuses in words that break lines': [{}, (socket) => socket.end(pkt('ERR no\x1b[2J\nreally')), /no\\u001b\[2J/],
  'sends a pack without end': [
    { bytes: 300_000 },
    afterList((socket) => {
      socket.write('0008NAK\n');
      flood(socket, pkt(`\u0001${'x'.repeat(1_000)}`));
    }),
    /more than 300000/,
  ],
  'is silent after the request': [{ silence: 300 }, afterList(() => undefined), /no answer for 300 ms/],
  'ends within the pack': [
    {},
    afterList((socket) => socket.end(`0008NAK\n${pkt('\u0001PACK\0\0\0\u0002\0\0\0\u0001')}`)),
    /ends within the pack/,
  ],
  'sends a pack that is none': [
    {},
    afterList((socket) => socket.end(`0008NAK\n${pkt(`\u0001${'y'.repeat(100)}`)}0000`)),
    /./,
  ],
  'sends another pack than was asked for': [
    {},
    afterList((socket) => {
      const empty = Buffer.from('5041434b0000000200000000029d08823bd8a8eab510ad6ac75c823cfd3ed31e', 'hex');
      const framed = Buffer.concat([Buffer.from('0025\u0001'), empty]);
      socket.end(Buffer.concat([Buffer.from('0008NAK\n'), framed, Buffer.from('0000')]));
    }),
    /did not arrive/,
  ],
};

for (const [what, [remotes, instead, expected]] of Object.entries(hostile)) {
  test(`a server that ${what} makes the repository unavailable, and harms nothing that was fetched`, async (t) => {
    const setup = await setUp(t);
    const patient = await open(t, setup);
    const commit = await patient.resolve('r', 'main');
    setup.daemon.instead = instead;
    const repositories = await open(t, setup, remotes);
    t.regex(await unavailable(t, repositories.resolve('r', 'main')), expected);
    t.is(await repositories.resolve('r', commit), commit);
    setup.daemon.instead = undefined;
    t.is(await patient.resolve('r', 'main'), commit);
  });
}

const urls: Record<string, RegExp> = {
  'git://example.org/x%00host=other.org': /control character/,
  'git://example.org/x%0a0032git-receive-pack%20/y': /control character/,
  'git://example.org/x%0d': /control character/,
  'git://example.org/x%ff': /not UTF-8/,
  'git://example.org/a%2f..%2fb': /"\.\."/,
  'git://example.org/': /names no repository/,
  'git://example.org': /names no repository/,
  'git://example.org//': /names no repository/,
  'git://example.org/x?service=git-receive-pack': /neither a query/,
  'git://example.org/x#y': /neither a query/,
  [`git://example.org/${'x'.repeat(5_000)}`]: /more than 4096 bytes/,
  'git://--upload-pack=id/x': /is not allowed/,
  'git://other.org/x': /"other.org" is not allowed/,
  'git://example.org.evil.com/x': /is not allowed/,
  'git://ada:secret@example.org/x': /credentials/,
  'git://127.0.0.1/x': /not a public address/,
  'git://[::1]/x': /not a public address/,
  'git+ssh://example.org/x': /scheme "git\+ssh:" is not allowed/,
};

const allowedHosts = ['example.org', '127.0.0.1', '[::1]', 'localhost', '127.1', '2130706433', '0x7f.1'];

for (const [url, expected] of Object.entries(urls)) {
  test(`a server does not start with the URL ${JSON.stringify(url.slice(0, 60))}`, async (t) => {
    const remotes = { allowedHosts, allowGit: true };
    const opening = openRepositories({ r: { url } }, { directory: '/nonexistent', remotes });
    const error = await t.throwsAsync(opening, { instanceOf: MemoirError, message: expected });
    t.is(error?.reason, 'REMOTE_NOT_ALLOWED');
    t.false(error?.message.includes('secret'));
  });
}

test('credentials for the git protocol, which cannot send them, are refused', async (t) => {
  const place = { url: 'git://example.org/x', credentials: { username: 'ada', password: 'secret' } };
  const opening = openRepositories(
    { r: place },
    { directory: '/nonexistent', remotes: { allowedHosts, allowGit: true } },
  );
  t.regex((await t.throwsAsync(opening))?.message ?? '', /takes no credentials/);
});

for (const host of ['localhost', '127.1', '2130706433', '0x7f.1']) {
  test(`${host} is refused when it is connected to, for its address`, async (t) => {
    const setup = await setUp(t);
    const url = setup.url.replace('127.0.0.1', host);
    const repositories = await open(t, { ...setup, url }, { allowedHosts, allowPrivateAddresses: false });
    t.regex(await unavailable(t, repositories.resolve('r', 'main')), /has the address .*, which is not public/);
    t.is(setup.daemon.connections(), 0);
  });
}
