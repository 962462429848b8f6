import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { MemoirError } from '../../../src/domain/errors.js';
import type { RemoteOptions } from '../../../src/git/mirror/open-remote.js';
import type { Repositories } from '../../../src/git/port.js';
import { openRepositories } from '../../../src/git/repositories.js';
import { serveDaemon } from '../../support/git-daemon.js';
import { type GitHttpServer, serveGit } from '../../support/git-http-server.js';
import { gitEnvironment, makeRepository, type TestRepository } from '../../support/git-repository.js';
import { rounds } from '../../support/rounds.js';

// What is mirrored, held against what git says of the remote and of the mirror.

const local: Partial<RemoteOptions> = {
  allowedHosts: ['127.0.0.1'],
  allowHttp: true,
  allowGit: true,
  allowPrivateAddresses: true,
  refreshAfter: 0,
  silence: 300_000,
};

type Mirrored = { readonly repositories: Repositories; readonly directory: string; dispose(): Promise<void> };

async function mirrorOf(url: string, remotes: Partial<RemoteOptions> = {}): Promise<Mirrored> {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-mirror-'));
  const options = { directory, patience: 600_000, remotes: { ...local, ...remotes } };
  const repositories = await openRepositories({ r: { url } }, options);
  return {
    repositories,
    directory,
    async dispose() {
      await repositories.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function inMirror(directory: string, name: string): string {
  return join(directory, readdirSync(directory).find((entry) => entry.startsWith('r-')) ?? '', name);
}

const named = (refspec: string) => ({ refspec, field: 'script_version' });

const git = (path: string, ...args: string[]): string =>
  execFileSync('git', ['--git-dir', path, ...args], { encoding: 'utf8', env: gitEnvironment(), stdio: 'pipe' }).trim();

const refsOf = (path: string): string =>
  git(path, 'for-each-ref', '--format=%(refname) %(objectname)', 'refs/heads', 'refs/tags');

/** Fetches, and holds the mirror against the remote. */
async function check(
  t: ExecutionContext,
  { repositories, directory }: Mirrored,
  origin: TestRepository,
): Promise<void> {
  await repositories.resolve('r', 'HEAD').catch((error: unknown) => {
    // An unborn HEAD cannot be resolved; that is found out only after the fetch.
    if (!(error instanceof MemoirError && error.reason === 'UNRESOLVABLE_REFSPEC')) throw error;
  });
  const served = inMirror(directory, 'served.git');
  t.is(refsOf(served), refsOf(join(origin.path, '.git')));
  t.is(git(served, 'fsck', '--connectivity-only', '--no-dangling'), '');
  const packs = join(inMirror(directory, 'fetched.git'), 'objects/pack');
  for (const name of readdirSync(packs).filter((file) => file.endsWith('.idx')))
    git(served, 'verify-pack', join(packs, name));
  for (const head of ['HEAD', '@~0']) {
    const theirs = ((): string | undefined => {
      try {
        return origin.git('rev-parse', '--verify', '--quiet', `${head}^{commit}`);
      } catch {
        return undefined;
      }
    })();
    t.is(await repositories.resolve('r', head).catch(() => undefined), theirs);
  }
}

/** What may happen to a remote between two fetches. */
const steps: Record<string, (origin: TestRepository, number: number) => void> = {
  commit: (origin, number) =>
    void origin.commit({ [`f${number}`]: `${number}\n`.repeat(300), common: `line ${number}\n`.repeat(200) }),
  branch: (origin, number) => void origin.git('branch', '--force', `topic/${number % 3}`, 'HEAD'),
  force: (origin) => void origin.git('reset', '--quiet', '--hard', 'HEAD~1'),
  remove: (origin, number) => void origin.git('branch', '-D', `topic/${number % 3}`),
  rename: (origin, number) => void origin.git('branch', '-m', `topic/${number % 3}`, `moved-${number}`),
  tag: (origin, number) => void origin.git('tag', '-f', '-a', '-m', 'x', `v${number % 2}`),
  tagOfTag: (origin, number) => void origin.git('tag', '-f', '-a', '-m', 'x', `of-${number}`, 'v0'),
  tagOfTree: (origin, number) => void origin.git('tag', '-f', `tree-${number}`, 'HEAD^{tree}'),
  detach: (origin) => void origin.git('checkout', '--quiet', '--detach'),
  unborn: (origin, number) => void origin.git('symbolic-ref', 'HEAD', `refs/heads/never-${number}`),
  back: (origin) => void origin.git('checkout', '--quiet', '--force', 'main'),
  merge: (origin, number) => void origin.git('merge', '--quiet', '-s', 'ours', '-m', 'm', `topic/${number % 3}`),
  forget: (origin) => void origin.git('-c', 'gc.reflogExpire=now', 'gc', '--quiet', '--prune=now'),
  repack: (origin) => void origin.git('repack', '-adfq', '--depth=50'),
  orphan: (origin, number) => {
    const id = origin.git('commit-tree', '-m', `orphan ${number}`, 'HEAD^{tree}');
    origin.git('update-ref', `refs/heads/orphan-${number}`, id);
  },
  kind: (origin, number) => {
    origin.git('update-ref', '-d', `refs/heads/deep/${number % 2}`);
    origin.git('update-ref', number % 2 ? 'refs/heads/deep' : `refs/heads/deep/${number}`, 'HEAD');
  },
};

for (const [way, format] of [
  ['http, version 2', 'sha1'],
  ['http, version 0', 'sha1'],
  ['git', 'sha1'],
  ['http, version 2', 'sha256'],
  ['http, version 0', 'sha256'],
] as const) {
  test(`whatever happens to a remote, its mirror is as git has it: ${way}, ${format}`, async (t) => {
    const script = fc.array(fc.array(fc.constantFrom(...Object.keys(steps)), { minLength: 1, maxLength: 4 }), {
      minLength: 3,
      maxLength: 6,
    });
    await fc.assert(
      fc.asyncProperty(script, async (turns) => {
        const origin = makeRepository({ objectFormat: format });
        const root = dirname(origin.path);
        const server = way === 'git' ? await serveDaemon(root) : await serveGit(root);
        if (way === 'http, version 0') (server as GitHttpServer).versions = false;
        const mirrored = await mirrorOf(`${server.url}/${basename(origin.path)}/.git`);
        try {
          // Empty at first; version 0 does not tell of which format.
          if (format === 'sha1') await check(t, mirrored, origin);
          origin.commit({ file: '1' });
          let number = 0;
          for (const turn of turns) {
            for (const name of turn) {
              try {
                steps[name]?.(origin, number++);
              } catch {
                // It was not possible then, as git says.
              }
            }
            await check(t, mirrored, origin);
          }
        } finally {
          await mirrored.dispose();
          await server.close();
          origin.dispose();
        }
      }),
      { numRuns: rounds(1, 30) },
    );
  });
}

/**
 * A way to a server that cuts a connection once so many bytes came from there since the last cut, over whatever
 * connections they came: which requests share a connection is a matter of time.
 */
async function cutter(port: number): Promise<{ port: number; cutAfter(bytes: number): void; close(): void }> {
  let after = Number.POSITIVE_INFINITY;
  let passed = 0;
  const server = createServer((socket) => {
    const upstream = connect(port, '127.0.0.1');
    let cut = false;
    socket.on('error', () => undefined).on('close', () => upstream.destroy());
    upstream.on('error', () => undefined).on('close', () => socket.destroy());
    socket.pipe(upstream);
    upstream.on('data', (piece: Buffer) => {
      if (cut) return;
      const left = after - passed;
      passed += piece.length;
      cut = piece.length > left;
      if (cut) passed = 0;
      socket.write(piece.subarray(0, Math.max(0, left)), () => {
        if (cut) socket.destroy();
      });
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    cutAfter(bytes) {
      after = bytes;
      passed = 0;
    },
    close: () => void server.close(),
  };
}

for (const way of ['http', 'git'] as const) {
  test(`wherever a transfer over ${way} is cut, nothing half is served, and the next one is whole`, async (t) => {
    const origin = makeRepository();
    t.teardown(origin.dispose);
    const write = (name: string, bytes: number) => writeFileSync(join(origin.path, name), randomBytes(bytes));
    write('a', 60_000);
    origin.commit({ one: '1' });
    const server = way === 'git' ? await serveDaemon(dirname(origin.path)) : await serveGit(dirname(origin.path));
    t.teardown(() => server.close());
    const between = await cutter(Number(new URL(server.url).port));
    t.teardown(between.close);
    const mirrored = await mirrorOf(`${way}://127.0.0.1:${between.port}/${basename(origin.path)}/.git`);
    t.teardown(mirrored.dispose);
    await check(t, mirrored, origin);
    const served = inMirror(mirrored.directory, 'served.git');
    const before = refsOf(served);
    for (let i = 0; i < 6; i++) {
      write(`b${i}`, 50_000);
      origin.commit({ two: String(i) });
      origin.git('branch', `b${i}`);
    }
    let cuts = 0;
    for (let after = 100; after < 320_000; after += 65_536) {
      between.cutAfter(after);
      const error = await t.throwsAsync(mirrored.repositories.resolve('r', 'HEAD'), { instanceOf: MemoirError });
      t.is(error?.reason, 'MIRROR_UNAVAILABLE');
      t.is(refsOf(served), before);
      t.is(git(served, 'fsck', '--connectivity-only', '--no-dangling'), '');
      cuts++;
    }
    t.true(cuts >= 5);
    between.cutAfter(Number.POSITIVE_INFINITY);
    await check(t, mirrored, origin);
    const packs = readdirSync(join(inMirror(mirrored.directory, 'fetched.git'), 'objects/pack'));
    t.deepEqual(
      packs.filter((name) => !/^pack-[0-9a-f]{40}\.(pack|idx|whole)$/.test(name)),
      [],
    );
  });
}

for (const way of ['http', 'git'] as const) {
  test(`a first fetch over ${way} in slices goes on where it was cut, and serves nothing before it is whole`, async (t) => {
    const origin = makeRepository();
    t.teardown(origin.dispose);
    for (let i = 0; i < 24; i++) {
      writeFileSync(join(origin.path, `f${i % 5}`), randomBytes(20_000));
      origin.commit({ number: String(i) });
    }
    origin.git('tag', '-a', '-m', 'x', 'v1', 'main~1');
    origin.git('branch', 'side', 'main~2');
    const old = origin.git('commit-tree', '-m', 'side', '-p', 'main~20', 'main^{tree}');
    origin.git('merge', '--quiet', '-s', 'ours', '-m', 'm', old);
    const server = way === 'git' ? await serveDaemon(dirname(origin.path)) : await serveGit(dirname(origin.path));
    t.teardown(() => server.close());
    const between = await cutter(Number(new URL(server.url).port));
    t.teardown(between.close);
    between.cutAfter(260_000);
    const url = `${way}://127.0.0.1:${between.port}/${basename(origin.path)}/.git`;
    const slices = { commits: 2, bytes: 60_000 };
    const mirrored = await mirrorOf(url, { slices });
    t.teardown(mirrored.dispose);
    let attempts = 0;
    for (let done = false; !done; attempts++) {
      try {
        await mirrored.repositories.resolve('r', 'main');
        done = true;
      } catch (error) {
        t.is((error as MemoirError).reason, 'MIRROR_UNAVAILABLE');
        t.false(readdirSync(inMirror(mirrored.directory, '.')).includes('served.git'));
        if (attempts === 20) throw error;
      }
    }
    t.true(attempts > 1 && attempts < 12, String(attempts));
    await check(t, mirrored, origin);
    const fetched = inMirror(mirrored.directory, 'fetched.git');
    t.is(git(fetched, 'rev-parse', '--is-shallow-repository'), 'false');
    t.false(readdirSync(fetched).includes('memoir-slices'));
    const id = (await mirrored.repositories.range('r', { end: named('main'), minimum: named('main~5') })).size;
    t.is(id, Number(origin.git('rev-list', '--count', 'main~5..main')) + 1);
  });
}

test('a remote whose history is cut off is mirrored as far as it goes, and whole once it has all', async (t) => {
  const source = makeRepository();
  t.teardown(source.dispose);
  for (let i = 0; i < 5; i++) source.commit({ file: String(i) });
  const origin = makeRepository();
  t.teardown(origin.dispose);
  origin.git('fetch', '--quiet', '--depth=2', `file://${source.path}`, 'main');
  origin.git('reset', '--quiet', '--hard', 'FETCH_HEAD');
  const server = await serveGit(dirname(origin.path));
  t.teardown(() => server.close());
  const mirrored = await mirrorOf(`${server.url}/${basename(origin.path)}/.git`);
  t.teardown(mirrored.dispose);
  await check(t, mirrored, origin);
  const served = inMirror(mirrored.directory, 'served.git');
  t.is(git(served, 'rev-list', '--count', 'main'), '2');
  const error = await t.throwsAsync(mirrored.repositories.range('r', { end: named('main'), minimum: named('main~1') }));
  t.is((error as MemoirError).reason, 'SHALLOW_REPOSITORY');
  origin.git('fetch', '--quiet', '--unshallow', `file://${source.path}`, 'main');
  origin.commit({ file: 'more' });
  await check(t, mirrored, origin);
  t.is(git(served, 'rev-list', '--count', 'main'), '6');
  t.is(git(served, 'rev-parse', '--is-shallow-repository'), 'false');
});

test('a mirror that would take more room than it may is refused, and what was fetched stays', async (t) => {
  const origin = makeRepository();
  t.teardown(origin.dispose);
  const first = origin.commit({ one: '1' });
  const server = await serveGit(dirname(origin.path));
  t.teardown(() => server.close());
  const mirrored = await mirrorOf(`${server.url}/${basename(origin.path)}/.git`, { mirrorBytes: 50_000 });
  t.teardown(mirrored.dispose);
  t.is(await mirrored.repositories.resolve('r', 'main'), first);
  writeFileSync(join(origin.path, 'large'), randomBytes(60_000));
  origin.commit({ two: '2' });
  const error = await t.throwsAsync(mirrored.repositories.resolve('r', 'main'));
  t.regex(error?.message ?? '', /its mirror would take more than 50000 bytes/);
  t.is(await mirrored.repositories.resolve('r', first), first);
});

test('nothing new costs one request, what is new one more, of which only that comes', async (t) => {
  const origin = makeRepository();
  t.teardown(origin.dispose);
  writeFileSync(join(origin.path, 'large'), randomBytes(300_000));
  origin.commit({ one: '1' });
  const server = await serveGit(dirname(origin.path));
  t.teardown(() => server.close());
  const mirrored = await mirrorOf(`${server.url}/${basename(origin.path)}/.git`);
  t.teardown(mirrored.dispose);
  const costs = async (): Promise<string[]> => {
    const before = server.requests.length;
    await mirrored.repositories.resolve('r', 'main');
    return server.requests.slice(before).map((request) => request.replace(/ .*\//, ' '));
  };
  const list = 'GET refs?service=git-upload-pack';
  t.deepEqual(await costs(), [list, 'POST git-upload-pack', 'POST git-upload-pack']);
  t.deepEqual(await costs(), ['POST git-upload-pack']);
  origin.commit({ two: '2' });
  t.deepEqual(await costs(), ['POST git-upload-pack', 'POST git-upload-pack']);
  // A force push to what the mirror does not have, from what the remote does not have any more.
  origin.commit({ three: '3' });
  await costs();
  origin.git('reset', '--quiet', '--hard', 'HEAD~2');
  origin.commit({ four: '4' });
  origin.git('reflog', 'expire', '--expire=now', '--all');
  origin.git('gc', '--quiet', '--prune=now');
  t.deepEqual(await costs(), ['POST git-upload-pack', 'POST git-upload-pack']);
  const directory = join(inMirror(mirrored.directory, 'fetched.git'), 'objects/pack');
  const sizes = readdirSync(directory)
    .filter((name) => name.endsWith('.pack'))
    .map((name) => readFileSync(join(directory, name)).length);
  t.is(sizes.filter((size) => size > 100_000).length, 1);
  // What is remembered of a server is not relied on.
  server.versions = false;
  origin.commit({ five: '5' });
  t.true((await costs()).includes(list));
  t.is(await mirrored.repositories.resolve('r', 'main'), origin.git('rev-parse', 'main'));
});
