import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { MemoirError } from '../../../src/domain/errors.js';
import { systemEdge } from '../../../src/edge.js';
import { openContentStore } from '../../../src/worker/store/content-store.js';

type File = { readonly content: Uint8Array; readonly executable: boolean };

function scratch(t: ExecutionContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-content-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

function sha256(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function blobPath(store: string, digest: string): string {
  return join(store, 'sha256', digest.slice(0, 2), digest.slice(2));
}

/** Every blob has the name of its content, and nothing temporary is left. */
function checkStore(t: ExecutionContext, store: string): void {
  for (const prefix of readdirSync(join(store, 'sha256'))) {
    for (const rest of readdirSync(join(store, 'sha256', prefix))) {
      t.is(sha256(readFileSync(join(store, 'sha256', prefix, rest))), prefix + rest);
    }
  }
  t.deepEqual(readdirSync(join(store, 'tmp')), []);
}

function write(directory: string, files: readonly (readonly [string, File])[], seconds: number): void {
  mkdirSync(directory);
  for (const [path, { content, executable }] of files) {
    const full = join(directory, path);
    mkdirSync(dirname(full), { recursive: true });
    writeFileSync(full, content);
    chmodSync(full, executable ? 0o700 : 0o640);
    utimesSync(full, seconds, seconds);
  }
}

// Directories and files have names of their own, so that no path is under a file.
const path = fc
  .tuple(
    fc.array(fc.constantFrom('d', 'dir', 'ä', 'd-1'), { maxLength: 2 }),
    fc.stringMatching(/^f[a-zA-Z0-9é🙂._ -]{0,5}$/u),
  )
  .map(([directories, name]) => [...directories, name].join('/'));
const file = fc.record({ content: fc.uint8Array({ maxLength: 40 }), executable: fc.boolean() });
const tree = fc.dictionary(path, file, { maxKeys: 6 });

test('the same files have the same address, in whatever order and at whatever time they were written', async (t) => {
  const base = scratch(t);
  const store = join(base, 'store');
  const contents = await openContentStore(store, { edge: systemEdge });
  let run = 0;
  await fc.assert(
    fc.asyncProperty(tree, fc.infiniteStream(fc.nat()), async (files, order) => {
      const [a, b] = [join(base, `a${run}`), join(base, `b${run}`)];
      run += 1;
      const keyed = Object.entries(files).map((entry) => [order.next().value as number, entry] as const);
      const shuffled = keyed.sort(([x], [y]) => x - y).map(([, entry]) => entry);
      write(a, Object.entries(files), 1_000_000_000);
      write(b, shuffled, 1_500_000_000);
      mkdirSync(join(b, 'an empty directory'));
      const address = await contents.putDirectory(a);
      t.is(await contents.putDirectory(b), address);
      const sorted = Object.entries(files).sort(([x], [y]) => Buffer.compare(Buffer.from(x), Buffer.from(y)));
      const listed = sorted.map(([name, { content, executable }]) => ({
        executable,
        path: name,
        sha256: sha256(content),
        size: content.length,
      }));
      const manifest = JSON.stringify({ files: listed });
      t.is(address, `sha256:${sha256(manifest)}`);
      t.is(readFileSync(blobPath(store, sha256(manifest)), 'utf8'), manifest);
    }),
    { numRuns: 60 },
  );
  checkStore(t, store);
});

test('any difference in a name, a content or an executable bit is another address', async (t) => {
  const base = scratch(t);
  const contents = await openContentStore(join(base, 'store'), { edge: systemEdge });
  const content = Buffer.from('x');
  const variants: Record<string, File>[] = [
    { f: { content, executable: false } },
    { f: { content, executable: true } },
    { g: { content, executable: false } },
    { 'd/f': { content, executable: false } },
    { f: { content: Buffer.from('y'), executable: false } },
    { f: { content: Buffer.from(''), executable: false } },
    {},
  ];
  const addresses = new Set<string>();
  for (const [i, files] of variants.entries()) {
    const directory = join(base, `v${i}`);
    write(directory, Object.entries(files), 1);
    addresses.add(await contents.putDirectory(directory));
  }
  t.is(addresses.size, variants.length);
});

test('symbolic links are kept as what they say, and never followed', async (t) => {
  const base = scratch(t);
  const store = join(base, 'store');
  const contents = await openContentStore(store, { edge: systemEdge });
  writeFileSync(join(base, 'secret'), 'secret');
  const output = join(base, 'output');
  mkdirSync(output);
  symlinkSync('../secret', join(output, 'link'));
  symlinkSync('/', join(output, 'root'));
  const address = await contents.putDirectory(output);
  const manifest = readFileSync(blobPath(store, address.slice(7)), 'utf8');
  t.is(manifest, '{"files":[{"path":"link","symlink":"../secret"},{"path":"root","symlink":"/"}]}');
  t.false(existsSync(blobPath(store, sha256('secret'))));
  symlinkSync(output, join(base, 'replaced'));
  await t.throwsAsync(contents.putDirectory(join(base, 'replaced')), { instanceOf: MemoirError, message: /no longer/ });
});

test('what cannot be kept is refused by name: pipes, and names that are not UTF-8', async (t) => {
  const base = scratch(t);
  const contents = await openContentStore(join(base, 'store'), { edge: systemEdge });
  const output = join(base, 'output');
  mkdirSync(output);
  execFileSync('mkfifo', [join(output, 'pipe')]);
  const error = await t.throwsAsync(contents.putDirectory(output), { instanceOf: MemoirError });
  t.true(error?.message.includes('"pipe"'), error?.message);
  rmSync(join(output, 'pipe'));
  writeFileSync(Buffer.concat([Buffer.from(`${output}/`), Buffer.of(0x66, 0xff)]), 'x');
  await t.throwsAsync(contents.putDirectory(output), { instanceOf: MemoirError, message: /not UTF-8/ });
  t.deepEqual(readdirSync(join(base, 'store/tmp')), []);
});

test('what a crash left behind is removed in time and never taken for content', async (t) => {
  const base = scratch(t);
  const store = join(base, 'store');
  await openContentStore(store, { edge: systemEdge });
  const [old, fresh] = [join(store, 'tmp/old'), join(store, 'tmp/fresh')];
  for (const path of [old, fresh]) writeFileSync(path, 'half a blo');
  const now = systemEdge.now();
  utimesSync(old, now / 1_000 - 2 * 86_400, now / 1_000 - 2 * 86_400);
  const contents = await openContentStore(store, { edge: systemEdge });
  t.false(existsSync(old));
  t.true(existsSync(fresh), 'another worker may be writing it');
  rmSync(fresh);

  const output = join(base, 'output');
  write(output, [['f', { content: Buffer.from('whole'), executable: false }]], 1);
  const damaged = blobPath(store, sha256('whole'));
  mkdirSync(dirname(damaged), { recursive: true });
  writeFileSync(damaged, 'who');
  await contents.putDirectory(output);
  t.is(readFileSync(damaged, 'utf8'), 'whole');
  checkStore(t, store);
});

test('a content that is there already is not written again', async (t) => {
  const base = scratch(t);
  const store = join(base, 'store');
  const contents = await openContentStore(store, { edge: systemEdge });
  writeFileSync(join(base, 'log'), 'log');
  const address = await contents.putFile(join(base, 'log'), 'log.txt');
  const before = statSync(blobPath(store, sha256('log'))).ino;
  t.is(await contents.putFile(join(base, 'log'), 'log.txt'), address);
  t.is(statSync(blobPath(store, sha256('log'))).ino, before);
  const both = await Promise.all([1, 2, 3, 4].map(() => contents.putFile(join(base, 'log'), 'log.txt')));
  t.deepEqual(new Set(both), new Set([address]));
  checkStore(t, store);
});
