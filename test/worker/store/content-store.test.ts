import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { emptyOutput } from '../../../src/domain/empty-output.js';
import { MemoirError } from '../../../src/domain/errors.js';
import { systemEdge } from '../../../src/edge.js';
import { removeTree } from '../../../src/worker/remove-tree.js';
import { openContentStore } from '../../../src/worker/store/content-store.js';
import { rounds } from '../../support/rounds.js';

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
    { numRuns: rounds(20, 60) },
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

test('a content with wrong bytes of the right length is replaced, and told', async (t) => {
  const base = scratch(t);
  const store = join(base, 'store');
  const damaged: string[] = [];
  const contents = await openContentStore(store, { edge: systemEdge, onDamage: (digest) => damaged.push(digest) });
  write(join(base, 'output'), [['f', { content: Buffer.from('right'), executable: false }]], 1);
  const blob = blobPath(store, sha256('right'));
  mkdirSync(dirname(blob), { recursive: true });
  writeFileSync(blob, 'wrong');
  await contents.putDirectory(join(base, 'output'));
  t.is(readFileSync(blob, 'utf8'), 'right');
  t.deepEqual(damaged, [sha256('right')]);
  checkStore(t, store);
});

test('the address of an output without files is the one that is known', async (t) => {
  const base = scratch(t);
  mkdirSync(join(base, 'output'));
  const contents = await openContentStore(join(base, 'store'), { edge: systemEdge });
  t.is(await contents.putDirectory(join(base, 'output')), emptyOutput);
});

test('holes stay holes, and the content is the same', async (t) => {
  const base = scratch(t);
  const store = join(base, 'store');
  const contents = await openContentStore(store, { edge: systemEdge });
  const output = join(base, 'output');
  mkdirSync(output);
  const length = 64 * 1024 ** 2;
  const sparse = openSync(join(output, 'sparse'), 'w');
  writeSync(sparse, 'a', 5_000);
  writeSync(sparse, 'b', 20 * 1024 ** 2 + 3);
  ftruncateSync(sparse, length);
  closeSync(sparse);
  const expected = readFileSync(join(output, 'sparse'));
  await contents.putDirectory(output);
  const stored = blobPath(store, sha256(expected));
  t.is(statSync(stored).size, length);
  t.true(readFileSync(stored).equals(expected));
  const kept = statSync(stored).blocks * 512;
  t.true(kept <= 256 * 1024, `${kept} bytes on the disk`);
});

test('any content comes through with its zeros where they were', async (t) => {
  const base = scratch(t);
  const store = join(base, 'store');
  const contents = await openContentStore(store, { edge: systemEdge });
  const part = fc.record({ zero: fc.boolean(), length: fc.nat({ max: 9_000 }) });
  let run = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(part, { maxLength: 8 }), async (parts) => {
      const bytes = Buffer.concat(parts.map(({ zero, length }) => Buffer.alloc(length, zero ? 0 : 7)));
      const file = join(base, `f${run++}`);
      writeFileSync(file, bytes);
      await contents.putFile(file, 'f');
      t.true(readFileSync(blobPath(store, sha256(bytes))).equals(bytes));
    }),
    { numRuns: rounds(15, 40) },
  );
});

test('an output beyond its limits is refused before a byte of it is written', async (t) => {
  const base = scratch(t);
  const store = join(base, 'store');
  const contents = await openContentStore(store, { edge: systemEdge });
  const output = join(base, 'output');
  write(output, [['a', { content: Buffer.alloc(10, 1), executable: false }]], 1);
  truncateSync(join(output, 'a'), 11);
  const refused = { instanceOf: MemoirError, message: /more than 10 bytes/ };
  await t.throwsAsync(contents.putDirectory(output, { limits: { bytes: 10, files: 9 } }), refused);
  symlinkSync('a', join(output, 'b'));
  const many = { instanceOf: MemoirError, message: /more than 1 files/ };
  await t.throwsAsync(contents.putDirectory(output, { limits: { bytes: 11, files: 1 } }), many);
  t.deepEqual(readdirSync(join(store, 'sha256')), []);
  await contents.putDirectory(output, { limits: { bytes: 11, files: 2 } });
  checkStore(t, store);
});

/** The paths of a manifest with what their links say, or what their files hold. */
function listed(store: string, address: string): Record<string, string> {
  const { files } = JSON.parse(readFileSync(blobPath(store, address.slice(7)), 'utf8'));
  return Object.fromEntries(
    files.map(({ path, symlink, sha256 }: { path: string; symlink?: string; sha256: string }) => [
      path,
      symlink === undefined ? readFileSync(blobPath(store, sha256), 'utf8') : `-> ${symlink}`,
    ]),
  );
}

test('links of an output last: within it they are relative, elsewhere in the run they are followed', async (t) => {
  const base = realpathSync(scratch(t));
  const store = join(base, 'store');
  const contents = await openContentStore(store, { edge: systemEdge });
  const worker = join(base, 'worker');
  const run = join(worker, '1');
  const output = join(run, 'output');
  for (const path of [join(output, 'd'), join(run, 'tmp/deep/er'), join(run, 'tree'), join(worker, '2')]) {
    mkdirSync(path, { recursive: true });
  }
  writeFileSync(join(output, 'd/file'), 'in output');
  writeFileSync(join(run, 'tmp/x'), 'in tmp');
  writeFileSync(join(run, 'tree/y'), 'in tree');
  writeFileSync(join(run, 'tmp/deep/z'), 'deep');
  symlinkSync('../z', join(run, 'tmp/deep/er/up'));
  symlinkSync(join(run, 'tmp/deep'), join(run, 'tmp/deep/er/round'));
  const links: [path: string, target: string, stored: Record<string, string>][] = [
    ['plain', 'd/file', { plain: '-> d/file' }],
    ['dangling', 'd/none', { dangling: '-> d/none' }],
    ['d/absolute', join(output, 'd/file'), { 'd/absolute': '-> file' }],
    ['d/top', output, { 'd/top': '-> ..' }],
    ['gone', join(output, 'none'), { gone: '-> none' }],
    ['around', '../output/d/file', { around: '-> d/file' }],
    ['tmp', '../tmp/x', { tmp: 'in tmp' }],
    ['tree', join(run, 'tree/y'), { tree: 'in tree' }],
    ['deep', '../tmp/deep', { 'deep/z': 'deep', 'deep/er/up': '-> ../z', 'deep/er/round': '-> ..' }],
    ['machine', '/usr/bin/env', { machine: '-> /usr/bin/env' }],
    ['nowhere', '/no/such/file', { nowhere: '-> /no/such/file' }],
  ];
  const options = { run: { run, worker } };
  const expected: Record<string, string> = { 'd/file': 'in output' };
  for (const [path, target, stored] of links) {
    symlinkSync(target, join(output, path));
    Object.assign(expected, stored);
  }
  t.deepEqual(listed(store, await contents.putDirectory(output, options)), expected);
  for (const target of ['../tmp/none', join(run, 'tmp/none'), '../../../nothing', run, '..', join(worker, '2')]) {
    symlinkSync(target, join(output, 'bad'));
    const error = await t.throwsAsync(contents.putDirectory(output, options), { instanceOf: MemoirError });
    t.is((error as MemoirError).reason, 'UNSTORABLE_OUTPUT', target);
    t.true(error?.message.includes('"bad"'), error?.message);
    rmSync(join(output, 'bad'));
  }
});

test('a path that is too long to be unpacked everywhere is refused by name, and can be removed', async (t) => {
  const base = scratch(t);
  const contents = await openContentStore(join(base, 'store'), { edge: systemEdge });
  const output = join(base, 'output');
  mkdirSync(output);
  // No path can name the innermost: each directory is entered from the one before.
  const deeper = 'n=$(printf "%0200d" 0); i=0; while [ $i -lt 30 ]; do mkdir $n; cd -P $n; i=$((i+1)); done; chmod 0 .';
  execFileSync('sh', ['-c', deeper], { cwd: output });
  await t.throwsAsync(contents.putDirectory(output), { instanceOf: MemoirError, message: /^"0+…?"? ?.*3072 bytes/s });
  await removeTree(output);
  t.false(existsSync(output));
});

test('what a script locked is unlocked and kept, also where the worker is not root', async (t) => {
  const base = scratch(t);
  const output = join(base, 'output');
  mkdirSync(join(output, 'd'), { recursive: true });
  writeFileSync(join(output, 'd/f'), 'locked', { mode: 0o700 });
  chmodSync(base, 0o777);
  // Root may read everything, so that a process without rights is needed to see it: it makes the files its own first.
  const module = new URL('../../../src/worker/store/content-store.js', import.meta.url).href;
  const program = `
    import { chmodSync, chownSync } from 'node:fs';
    import { openContentStore } from ${JSON.stringify(module)};
    const [base] = process.argv.slice(-1);
    const paths = ['', '/d', '/d/f'].map((path) => base + '/output' + path);
    if (process.getuid() === 0) {
      for (const path of paths) chownSync(path, 65534, 65534);
      process.setgid(65534);
      process.setuid(65534);
    }
    chmodSync(paths[2], 0o100);
    chmodSync(paths[1], 0);
    const store = await openContentStore(base + '/store', { edge: { now: () => 0, uuid: () => crypto.randomUUID() } });
    process.stdout.write(await store.putDirectory(paths[0]));
  `;
  const said = execFileSync(process.execPath, ['--input-type=module', '-e', program, base], { encoding: 'utf8' });
  const manifest = `{"files":[{"executable":true,"path":"d/f","sha256":"${sha256('locked')}","size":6}]}`;
  t.is(said, `sha256:${sha256(manifest)}`);
});
