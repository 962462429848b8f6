import { createHash } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import type { BlobName } from '../../src/content/blob-name.js';
import { buildTree, type TreeFile } from '../../src/content/trees/build-tree.js';
import { nodesOf } from '../../src/content/trees/check-directory.js';
import { checkTree } from '../../src/content/trees/check-tree.js';
import { findInTree } from '../../src/content/trees/find-in-tree.js';
import { treeLimits } from '../../src/content/trees/tree-limits.js';
import { walkTree } from '../../src/content/trees/walk-tree.js';
import { MemoirError } from '../../src/domain/errors.js';
import { compareText } from '../../src/domain/filters/compare-text.js';
import { addressOf, manifestBytes } from '../../src/worker/store/manifest.js';
import { directory, sha256 } from '../support/content.js';

const blobOf = (data: Uint8Array): BlobName => ({ hash: sha256(data), size: data.length });
const some = blobOf(Buffer.from('some'));
const file = (path: string, blob = some, executable = false): TreeFile => ({ path, blob, executable });

/** Blobs in memory. */
function blobs(...data: Uint8Array[]) {
  const kept = new Map(data.map((one) => [sha256(one), one]));
  return {
    kept,
    add(one: Uint8Array): BlobName {
      kept.set(sha256(one), one);
      return blobOf(one);
    },
    get: async (names: readonly BlobName[]) =>
      names.map(({ hash }) => kept.get(hash) ?? new MemoirError('NOT_FOUND', 'BLOB_NOT_FOUND', `no ${hash}`)),
    missing: async (names: readonly BlobName[]) => names.filter(({ hash }) => !kept.has(hash)),
  };
}

function stored(files: readonly TreeFile[]) {
  const { root, directories } = buildTree(files);
  return { root, content: blobs(...directories.values()) };
}

async function paths(content: Parameters<typeof walkTree>[0], root: BlobName, options = {}): Promise<string[]> {
  const found: string[] = [];
  for await (const entries of walkTree(content, root, options)) found.push(...entries.map(({ path }) => path));
  return found;
}

async function refused(t: ExecutionContext, work: () => unknown, reason: string, naming: string): Promise<void> {
  const error = await t.throwsAsync<MemoirError>(async () => void (await work()), { instanceOf: MemoirError }, reason);
  t.is(error?.reason, reason, error?.message);
  t.true(error?.message.includes(naming), error?.message);
}

const name = fc
  .string({ unit: 'binary', minLength: 1, maxLength: 4 })
  .filter((text) => !/[/\0]/.test(text) && text !== '.' && text !== '..');
const anyTree = fc
  .uniqueArray(fc.array(name, { minLength: 1, maxLength: 4 }), { selector: (parts) => parts.join('/'), maxLength: 12 })
  .map((all) => {
    // No path is a directory of another.
    const kept = all.map((parts) => parts.join('/'));
    return kept.filter((path) => !kept.some((other) => other.startsWith(`${path}/`)));
  })
  .chain((all) =>
    fc.tuple(
      ...all.map((path) =>
        fc.oneof(
          fc.record({
            path: fc.constant(path),
            blob: fc.constantFrom(some, blobOf(Buffer.from('x'))),
            executable: fc.boolean(),
          }),
          fc.record({ path: fc.constant(path), symlink: name }),
        ),
      ),
    ),
  ) as fc.Arbitrary<TreeFile[]>;

test('texts are ordered as the bytes of their UTF-8 form', (t) => {
  const text = fc.string({ unit: 'binary', maxLength: 5 });
  fc.assert(
    fc.property(text, text, (a, b) => {
      t.is(Math.sign(compareText(a, b)), Buffer.compare(Buffer.from(a), Buffer.from(b)));
    }),
  );
  t.true(compareText('\u{10000}', '\uffff') > 0);
});

test('a tree does not depend on the order of its files, is walked in that of their paths, and has the address of their manifest', async (t) => {
  await fc.assert(
    fc.asyncProperty(anyTree, fc.integer(), async (files, turn) => {
      const { root, content } = stored(files);
      const turned = files.map((_, i) => files[(i + Math.abs(turn % 97)) % files.length] as TreeFile);
      t.deepEqual(buildTree(turned.reverse()).root, root);
      const found: string[] = [];
      for await (const entries of walkTree(content, root)) {
        found.push(...entries.filter(({ node }) => node.kind !== 'directory').map(({ path }) => path));
      }
      t.deepEqual(
        found,
        files.map(({ path }) => path).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))),
      );
      const manifest = files.map((one) =>
        'symlink' in one
          ? one
          : { path: one.path, size: one.blob.size, sha256: one.blob.hash, executable: one.executable },
      );
      const all = blobs(...content.kept.values(), Buffer.from('some'), Buffer.from('x'));
      const checked = await checkTree(all, root);
      t.is(checked.manifest, addressOf(sha256(manifestBytes(manifest))));
      t.is(checked.missingCount, 0);
      for (const one of files) {
        if ('symlink' in one) continue;
        const there = await findInTree(content, root, one.path);
        t.is(there.path, one.path);
        t.is(there.node.kind, 'file');
      }
    }),
    { numRuns: 60 },
  );
});

test('the tree of no files is the Directory of nothing', async (t) => {
  const { root, content } = stored([]);
  t.deepEqual(root, { hash: createHash('sha256').digest('hex'), size: 0 });
  content.kept.set(root.hash, Buffer.alloc(0));
  const checked = await checkTree(content, root);
  t.is(checked.manifest, addressOf(sha256(manifestBytes([]))));
});

test('a tree is built of paths and links alone that stay in it', async (t) => {
  for (const [files, naming] of [
    [[file('../a')], '".."'],
    [[file('/a')], '""'],
    [[file('a//b')], '""'],
    [[file('a/./b')], '"."'],
    [[file('a\0b')], 'NUL'],
    [[file('n'.repeat(256))], '255'],
    [[file('a\ud800')], 'UTF-8'],
    [[file('a'), file('a')], 'twice'],
    [[file('a'), file('a/b')], 'twice'],
    [[file('a/b'), file('a')], 'twice'],
    [[{ path: 'l', symlink: '../x' }], 'leads out'],
    [[{ path: 'd/l', symlink: '../../x' }], 'leads out'],
    [[{ path: 'd/l', symlink: 'x/../../../y' }], 'leads out'],
    [[{ path: 'l', symlink: '/etc/passwd' }], 'leads out'],
    [[{ path: 'l', symlink: '' }], 'leads out'],
  ] as [TreeFile[], string][]) {
    await refused(t, () => buildTree(files), 'BAD_TREE', naming);
  }
  t.notThrows(() => buildTree([{ path: 'd/e/l', symlink: '../../x/y' }, file('x/y')]));
});

test('a Directory that is not in canonical form is refused, naming what is wrong', async (t) => {
  const digest = { hash: some.hash, sizeBytes: BigInt(some.size) };
  const node = (name: string) => ({ name, digest });
  const ofNodes = (...names: string[]) => directory({ files: names.map(node) });
  const canonical = ofNodes('a', 'b');
  t.is(nodesOf(blobOf(canonical), canonical).length, 2);
  for (const [data, naming] of [
    [ofNodes('b', 'a'), 'not sorted'],
    [ofNodes('a', 'a'), 'twice'],
    [directory({ files: [node('a')], directories: [node('a')] }), 'twice'],
    [ofNodes('..'), '".."'],
    [ofNodes('a/b'), '"a/b"'],
    [ofNodes(''), '""'],
    [ofNodes('a\0'), 'NUL'],
    [ofNodes('n'.repeat(256)), '255'],
    [directory({ files: [{ name: 'a' }] }), 'required'],
    [directory({ files: [{ name: 'a', digest: { hash: 'x', sizeBytes: 1n } }] }), '"x"'],
    [directory({ files: [{ name: 'a', digest: { hash: some.hash, sizeBytes: -1n } }] }), '-1'],
    [directory({ symlinks: [{ name: 'a', target: '/etc' }] }), '"/etc"'],
    [directory({ symlinks: [{ name: 'a', target: 'b/../../c' }] }), '"b/../../c"'],
    [directory({ symlinks: [{ name: 'a', target: '' }] }), '""'],
    [directory({ files: [{ ...node('a'), nodeProperties: { unixMode: 0o4755 } }] }), 'properties'],
    [Buffer.concat([canonical, canonical.subarray(0, 0), Buffer.from([0x78, 1])]), 'canonical'],
    [Buffer.from('no message at all, but text'), 'no directory'],
  ] as [Uint8Array, string][]) {
    await refused(t, () => nodesOf(blobOf(data), data), 'BAD_TREE', naming);
  }
});

test('a link out of the tree is found where the directory stands that has it', async (t) => {
  const link = directory({ symlinks: [{ name: 'l', target: '../x' }] });
  const content = blobs(link);
  const top = content.add(directory({ directories: [{ name: 'd', digest: digestOfBlob(blobOf(link)) }] }));
  t.deepEqual(await paths(content, top), ['d', 'd/l']);
  await refused(t, () => paths(content, blobOf(link)), 'BAD_TREE', '"../x"');
  // The same directory below another may climb as far.
  t.deepEqual(await paths(content, blobOf(link), { at: 'some' }), ['some/l']);
});

const digestOfBlob = ({ hash, size }: BlobName) => ({ hash, sizeBytes: BigInt(size) });

test('a tree that is small and expands without an end is refused by what it expands to', async (t) => {
  const content = blobs();
  const nest = (leaf: BlobName, width: number, depth: number) => {
    let at = leaf;
    for (let i = 0; i < depth; i++) {
      const directories = Array.from({ length: width }, (_, n) => ({
        name: width === 1 ? 'd' : `d${String(n).padStart(2, '0')}`,
        digest: digestOfBlob(at),
      }));
      at = content.add(directory({ directories }));
    }
    return at;
  };
  const leaf = content.add(directory({ files: [{ name: 'f', digest: { hash: some.hash, sizeBytes: 2n ** 40n } }] }));
  await refused(t, () => paths(content, nest(leaf, 10, 12)), 'TREE_TOO_LARGE', 'bytes');
  const small = content.add(directory({ files: [{ name: 'f', digest: digestOfBlob(some) }] }));
  await refused(
    t,
    () => paths(content, nest(small, 30, 10), { limits: { ...treeLimits, entries: 10_000 } }),
    'TREE_TOO_LARGE',
    'entries',
  );
  await refused(t, () => paths(content, nest(small, 1, 10_000)), 'TREE_TOO_LARGE', '1000 directories');
  let long = small;
  for (let i = 0; i < 13; i++) {
    long = content.add(directory({ directories: [{ name: 'n'.repeat(250), digest: digestOfBlob(long) }] }));
  }
  await refused(t, () => paths(content, long), 'TREE_TOO_LARGE', '3072');
});

test('what is missing is told by its digest, down to the last file', async (t) => {
  const [there, gone] = [Buffer.from('there'), Buffer.from('gone')];
  const files = [file('a/b/gone', blobOf(gone)), file('a/there', blobOf(there)), file('z', blobOf(there))];
  const { root, content } = stored(files);
  content.add(there);
  const checked = await checkTree(content, root);
  t.deepEqual([checked.missing, checked.missingCount], [[blobOf(gone)], 1]);
  t.deepEqual([checked.entries, checked.bytes], [5, 14]);
  const [below] = [...content.kept.keys()].filter((hash) => hash !== root.hash && hash !== sha256(there));
  content.kept.delete(below as string);
  t.true((await checkTree(content, root)).missingCount > 0);
  content.kept.delete(root.hash);
  t.deepEqual((await checkTree(content, root)).missing, [root]);
});

test('a path finds what open(2) would, and nothing outside', async (t) => {
  const { root, content } = stored([
    file('data/2026/run.csv'),
    { path: 'latest', symlink: 'data/2026' },
    { path: 'data/2026/self', symlink: '../../latest/run.csv' },
    { path: 'loop', symlink: 'loop' },
    { path: 'up', symlink: '.' },
  ]);
  const find = async (path: string) => {
    const found = await findInTree(content, root, path);
    return `${found.node.kind} ${found.path}`;
  };
  t.is(await find(''), 'directory ');
  t.is(await find('latest'), 'directory data/2026');
  t.is(await find('latest/run.csv'), 'file data/2026/run.csv');
  t.is(await find('./latest//self'), 'file data/2026/run.csv');
  t.is(await find('up/up/latest'), 'directory data/2026');
  for (const path of ['nothing', 'loop', 'latest/run.csv/x'])
    await refused(t, () => find(path), 'PATH_NOT_FOUND', path);
  for (const path of ['../x', '/etc', 'a\0', 'latest/../..']) await refused(t, () => find(path), 'BAD_PATH', 'path');
});
