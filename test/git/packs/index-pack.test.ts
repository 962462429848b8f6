import { execFile, execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { sha1, sha256 } from '../../../src/git/hash.js';
import { withoutCollision } from '../../../src/git/objects/checked-id.js';
import { createPageCache } from '../../../src/git/objects/paged-file.js';
import { createCheckedSha1 } from '../../../src/git/objects/sha1-checked/checked-sha1.js';
import { type IndexOptions, indexPack } from '../../../src/git/packs/index-pack.js';
import { type KnownObjects, openKnownObjects } from '../../../src/git/packs/known-objects.js';
import { packLimits } from '../../../src/git/packs/pack-limits.js';
import { receivePack, removeLeftovers } from '../../../src/git/packs/receive-pack.js';
import { histories, writeHistory } from '../../support/git-history.js';
import { gitEnvironment, makeRepository, type TestRepository } from '../../support/git-repository.js';
import {
  appending,
  blob,
  commit,
  entryBytes,
  idDelta,
  idOf,
  offsetDelta,
  type PackEntry,
  packHeader,
  packOf,
  replacing,
  tag,
  tree,
  varint,
  withChecksum,
} from '../../support/pack-writer.js';
import { rounds } from '../../support/rounds.js';
import { shattered, shatteredHash } from '../../support/shattered.js';

function scratch(t: ExecutionContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-packs-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

const nothing: KnownObjects = { typeOf: () => undefined, read: () => undefined, rescan() {}, close() {} };

const defaults: IndexOptions = {
  hash: sha1,
  known: nothing,
  shallow: new Set(),
  limits: packLimits,
  monotonic: () => performance.now(),
};

async function* pieces(bytes: Buffer, length = 65_536): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
}

function gitIndex(directory: string, pack: Buffer, ...more: string[]): Buffer {
  const path = join(directory, 'theirs.pack');
  writeFileSync(path, pack);
  execFileSync('git', ['index-pack', '-o', join(directory, 'theirs.idx'), ...more, path], {
    env: gitEnvironment(),
    stdio: 'ignore',
  });
  const index = readFileSync(join(directory, 'theirs.idx'));
  for (const name of ['theirs.pack', 'theirs.idx']) rmSync(join(directory, name), { force: true });
  return index;
}

/** Every object of a repository as one pack. */
function packAll(repository: TestRepository, ...how: string[]): Buffer {
  return execFileSync('git', ['pack-objects', '--all', '--stdout', '--quiet', ...how], {
    cwd: repository.path,
    env: gitEnvironment(),
    input: '',
    maxBuffer: 1024 ** 3,
    stdio: ['pipe', 'pipe', 'ignore'],
  });
}

const onlyIndex = (directory: string): string => readdirSync(directory).find((name) => name.endsWith('.idx')) ?? '';

for (const [what, hash, how] of [
  ['deltas by offset', sha1, ['--delta-base-offset']],
  ['deltas by id', sha1, []],
  ['long chains', sha1, ['--delta-base-offset', '--depth=200', '--window=300']],
  ['no deltas', sha1, ['--depth=0']],
  ['SHA-256', sha256, ['--delta-base-offset']],
] as const) {
  test(`the index is git's, byte for byte, with ${what}`, async (t) => {
    const repository = makeRepository({ objectFormat: hash.name });
    t.teardown(repository.dispose);
    const lines = Array.from({ length: 400 }, (_, i) => `line ${i} of some length\n`);
    for (let i = 0; i < 12; i++) {
      lines[i * 31] = `changed ${i}\n`;
      repository.commit({ 'a/b.txt': lines.join(''), [`n${i}`]: `${i}`, empty: '' });
    }
    repository.git('tag', '-a', '-m', 'x', 'v1');
    repository.git('tag', '-a', '-m', 'x', 'v2', 'v1');
    const pack = packAll(repository, ...how);
    const directory = scratch(t);
    await receivePack(pieces(pack, 1_000), directory, { ...defaults, hash });
    const index = onlyIndex(directory);
    t.deepEqual(readFileSync(join(directory, index)), gitIndex(directory, pack, `--object-format=${hash.name}`));
    t.true(pack.equals(readFileSync(join(directory, index.replace('.idx', '.pack')))));
    t.is(index, `pack-${pack.subarray(-hash.bytes).toString('hex')}.idx`);
  });
}

test('large blobs, whole and in deltas, come through, and are the same if they come again', async (t) => {
  const repository = makeRepository();
  t.teardown(repository.dispose);
  const noise = Buffer.alloc(20_000_000, 'a very long file. ');
  for (let i = 0; i < noise.length; i += 4_999)
    noise.writeUInt32LE(Math.imul(i, 0x9e3779b1) >>> 0, Math.min(i, noise.length - 4));
  writeFileSync(join(repository.path, 'large'), noise);
  repository.commit({ small: '1' });
  writeFileSync(join(repository.path, 'large'), Buffer.concat([noise, Buffer.from('more')]));
  repository.commit({ small: '2' });
  for (const depth of ['0', '10']) {
    const pack = packAll(repository, `--depth=${depth}`);
    const store = scratch(t);
    const directory = join(store, 'pack');
    mkdirSync(directory);
    await receivePack(pieces(pack), directory, defaults);
    t.deepEqual(readFileSync(join(directory, onlyIndex(directory))), gitIndex(directory, pack));
    const known = openKnownObjects(store, sha1, createPageCache(1_000_000), packLimits.deltaBytes);
    await t.notThrowsAsync(receivePack(pieces(pack), directory, { ...defaults, known }));
    known.close();
  }
});

test("of random histories the index is git's, and thin packs are completed", async (t) => {
  await fc.assert(
    fc.asyncProperty(histories(40), fc.nat(39), async (history, cut) => {
      const repository = makeRepository();
      const store = mkdtempSync(join(tmpdir(), 'memoir-packs-'));
      const directory = join(store, 'pack');
      mkdirSync(directory);
      try {
        writeHistory(repository, history.slice(0, cut + 1));
        const first = packAll(repository, '--delta-base-offset');
        await receivePack(pieces(first), directory, defaults);
        t.deepEqual(readFileSync(join(directory, onlyIndex(directory))), gitIndex(directory, first));
        const before = repository.git('for-each-ref', '--format=^%(objectname)');
        writeHistory(repository, history, Math.min(cut + 1, history.length));
        const revs = `${repository.git('for-each-ref', '--format=%(objectname)')}\n${before}\n`;
        const thin = execFileSync('git', ['pack-objects', '--thin', '--stdout', '--revs', '--quiet'], {
          cwd: repository.path,
          env: gitEnvironment(),
          input: revs,
          stdio: ['pipe', 'pipe', 'ignore'],
        });
        const known = openKnownObjects(store, sha1, createPageCache(1_000_000), packLimits.deltaBytes);
        await receivePack(pieces(thin), directory, { ...defaults, known });
        known.close();
        for (const name of readdirSync(directory).filter((file) => file.endsWith('.idx')))
          execFileSync('git', ['verify-pack', join(directory, name)], { env: gitEnvironment() });
      } finally {
        repository.dispose();
        rmSync(store, { recursive: true, force: true });
      }
    }),
    { numRuns: rounds(3) },
  );
  t.pass();
});

test('a thin pack gets the bases that it lacks from what is known', async (t) => {
  const store = scratch(t);
  const directory = join(store, 'pack');
  mkdirSync(directory);
  const base = Buffer.from('x'.repeat(1_000));
  await receivePack(pieces(packOf([{ kind: blob, data: base }])), directory, defaults);
  const first = onlyIndex(directory);
  const known = openKnownObjects(store, sha1, createPageCache(1_000_000), packLimits.deltaBytes);
  const id = idOf('blob', base);
  const second = Buffer.concat([base, Buffer.from('y')]);
  const thin = packOf([
    { kind: idDelta, data: appending(1_000, 'y'), baseId: id },
    { kind: idDelta, data: appending(1_001, 'z'), baseId: idOf('blob', second) },
  ]);
  t.is(await receivePack(pieces(thin), directory, { ...defaults, known }), 3);
  const added = readdirSync(directory).find((name) => name.endsWith('.idx') && name !== first) ?? '';
  const listed = execFileSync('git', ['verify-pack', '-v', join(directory, added)], {
    env: gitEnvironment(),
    encoding: 'utf8',
  });
  for (const object of [id, idOf('blob', second), idOf('blob', Buffer.concat([second, Buffer.from('z')]))])
    t.true(listed.includes(object.toString('hex')));
  t.is(readdirSync(directory).filter((name) => name.endsWith('.whole')).length, 2);
  known.close();
});

test('what a crash left behind is removed, and nothing else', (t) => {
  const directory = scratch(t);
  const kept = ['pack-1.idx', 'pack-1.pack', 'pack-1.whole', 'multi-pack-index'];
  const gone = ['pack-2.pack', 'pack-2.whole', 'pack-3.idx.tmp', 'tmp_pack_memoir_1'];
  for (const name of [...kept, ...gone]) writeFileSync(join(directory, name), '');
  removeLeftovers(directory);
  t.deepEqual(readdirSync(directory).sort(), kept.sort());
});

const text = (value: string): PackEntry => ({ kind: blob, data: Buffer.from(value) });
const treeOf = (mode: string, name: string, id: Buffer): Buffer =>
  Buffer.concat([Buffer.from(`${mode} ${name}\0`), id]);
const commitOf = (treeId: Buffer, ...parents: Buffer[]): Buffer =>
  Buffer.from(
    `tree ${treeId.toString('hex')}\n${parents.map((id) => `parent ${id.toString('hex')}\n`).join('')}author A <a> 1 +0000\ncommitter A <a> 1 +0000\n\nx\n`,
  );
const emptyTree = idOf('tree', Buffer.alloc(0));
const absent = Buffer.alloc(20, 7);
const chain = (length: number): PackEntry[] => {
  const first = text('a'.repeat(100));
  const entries = [first];
  for (let i = 0; i < length; i++) {
    const distance = entryBytes(entries.at(-1) as PackEntry).length;
    entries.push({ kind: offsetDelta, data: appending(100 + i, 'b'), distance });
  }
  return entries;
};
const corrupt = (bytes: Buffer, at: number): Buffer => {
  const copy = Buffer.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ 0xff;
  return copy;
};
const knows = (type: 'blob' | 'tree', id: Buffer, data: Buffer): KnownObjects => ({
  ...nothing,
  typeOf: (asked) => (asked.equals(id) ? type : undefined),
  read: (asked) => (asked.equals(id) ? { type, data } : undefined),
});

/** Names objects by their content alone: nobody has made blocks that collide behind the header of an object. */
const byContent: Partial<IndexOptions> = {
  idOf: (_hash, _type, data) => withoutCollision(createCheckedSha1().digest('', data)),
};
const collides = new RegExp(`object ${shatteredHash} is part of a collision attack on SHA-1`);

/** Packs of hostile remotes, and what is said of them. */
const hostile: Record<string, [Buffer, RegExp, Partial<IndexOptions>?]> = {
  nothing: [Buffer.alloc(0), /too short/],
  'another file': [withChecksum(Buffer.from('this is not a pack at all')), /not a pack of version/],
  'a pack of version 9': [withChecksum(corrupt(packHeader(0), 7)), /not a pack of version/],
  'another checksum': [corrupt(packOf([text('x')]), 30), /another checksum/],
  '2^32 - 1 objects, as it says': [packOf([text('x')], { count: 2 ** 32 - 1 }), /more than 50000000 objects/],
  'more objects than its bytes can hold': [packOf([text('x')], { count: 1_000 }), /says that it has 1000 objects in/],
  'fewer objects than it says': [
    packOf([text('x'.repeat(200)), { kind: blob, data: Buffer.from('y'), deflated: Buffer.from('78da0101', 'hex') }], {
      count: 2,
    }),
    /inflate|not of the 1 bytes/,
  ],
  'more bytes than objects': [
    withChecksum(Buffer.concat([packHeader(1), entryBytes(text('x')), Buffer.from('more')])),
    /4 bytes follow/,
  ],
  'an object of a terabyte, as it says': [packOf([{ ...text('x'), claimed: 2 ** 40 }]), /too large/],
  'an object of 2^66 bytes, as it says': [
    withChecksum(Buffer.concat([packHeader(1), Buffer.alloc(10, 0xbf), Buffer.alloc(20)])),
    /has no size|too large/,
  ],
  'an object of gigabytes that is small, as it says': [
    packOf([{ ...text('x'), claimed: 3 * 1024 ** 3 }]),
    /not of the .* bytes/,
  ],
  'an object that inflates to more than it says': [
    packOf([{ ...text('x'.repeat(50_000_000)), claimed: 100 }]),
    /not of the 100 bytes/,
  ],
  'a large object that inflates to more than it says': [
    packOf([{ ...text('x'.repeat(50_000_000)), claimed: 20_000_000 }]),
    /more than 20000000/,
  ],
  'a large object that inflates to less than it says': [
    packOf([{ ...text('x'.repeat(17_000_000)), claimed: 20_000_000 }]),
    /gives 17000000/,
  ],
  'an object that is not deflated': [packOf([{ ...text('x'), deflated: Buffer.alloc(30, 1) }]), /not of the 1 bytes/],
  'more inflated bytes in all than are allowed': [
    packOf([text('a'.repeat(600)), text('b'.repeat(600))]),
    /inflates to more than 1000 bytes/,
    { limits: { ...packLimits, inflatedBytes: 1_000 } },
  ],
  'an object that is larger than allowed': [
    packOf([text('a'.repeat(600))]),
    /too large/,
    { limits: { ...packLimits, objectBytes: 500 } },
  ],
  'more objects than allowed': [
    packOf([text('a'), text('b')]),
    /more than 1 objects/,
    { limits: { ...packLimits, objects: 1 } },
  ],
  'an object of kind 5': [packOf([{ kind: 5, data: Buffer.from('x') }]), /of the kind 5/],
  'an object of kind 0': [packOf([{ kind: 0, data: Buffer.from('x') }]), /of the kind 0/],
  'a delta of itself': [
    packOf([{ kind: offsetDelta, data: appending(1, 'x'), distance: 0 }]),
    /has no base|circle|no base/,
  ],
  'a delta of what is before the pack': [
    packOf([{ kind: offsetDelta, data: appending(1, 'x'), distance: 5_000 }]),
    /has no base at/,
  ],
  'a delta of the middle of an object': [
    packOf([text('x'), { kind: offsetDelta, data: appending(1, 'x'), distance: 3 }]),
    /has no base at/,
  ],
  'deltas of each other': [
    packOf([
      { kind: idDelta, data: appending(1, 'x'), baseId: Buffer.alloc(20, 1) },
      { kind: idDelta, data: appending(1, 'y'), baseId: Buffer.alloc(20, 2) },
    ]),
    /2 deltas have no base/,
  ],
  'a delta of a delta that has no base': [
    packOf([
      { kind: idDelta, data: appending(1, 'x'), baseId: absent },
      {
        kind: offsetDelta,
        data: appending(1, 'y'),
        distance: entryBytes({ kind: idDelta, data: appending(1, 'x'), baseId: absent }).length,
      },
    ]),
    /2 deltas have no base/,
  ],
  'a chain that is too long': [
    packOf(chain(11)),
    /chain of more than 10 deltas/,
    { limits: { ...packLimits, depth: 10 } },
  ],
  'a delta for a base of another size': [
    packOf([text('x'), { kind: offsetDelta, data: appending(2, 'x'), distance: entryBytes(text('x')).length }]),
    /base of another size/,
  ],
  'a delta that copies what its base does not have': [
    packOf([
      text('x'),
      {
        kind: offsetDelta,
        data: Buffer.from([...varint(1), ...varint(200), 0x90, 200]),
        distance: entryBytes(text('x')).length,
      },
    ]),
    /reaches beyond/,
  ],
  'a delta that makes a terabyte': [
    packOf([
      text('x'),
      {
        kind: offsetDelta,
        data: Buffer.from([...varint(1), ...varint(2 ** 40), 0x90, 1]),
        distance: entryBytes(text('x')).length,
      },
    ]),
    /more than \d+ bytes/,
  ],
  'an object twice': [packOf([text('x'), text('x')]), /comes twice/],
  'a base twice, with a delta by its id': [
    packOf([text('x'), text('x'), { kind: idDelta, data: appending(1, 'y'), baseId: idOf('blob', Buffer.from('x')) }]),
    /comes twice/,
  ],
  'a commit without a tree': [
    packOf([{ kind: commit, data: Buffer.from('author A <a> 1 +0000\n\nx') }]),
    /commit [0-9a-f]{40} cannot be read/,
  ],
  'a commit of a tree that is not there': [packOf([{ kind: commit, data: commitOf(absent) }]), /0707.* did not arrive/],
  'a commit with a parent that is not there': [
    packOf([
      { kind: tree, data: Buffer.alloc(0) },
      { kind: commit, data: commitOf(emptyTree, absent) },
    ]),
    /0707.* did not arrive/,
  ],
  'a commit whose tree is a blob': [
    packOf([text('x'), { kind: commit, data: commitOf(idOf('blob', Buffer.from('x'))) }]),
    /named as a tree, and is a blob/,
  ],
  'a tree with a file that is not there': [
    packOf([{ kind: tree, data: treeOf('100644', 'a', absent) }]),
    /did not arrive/,
  ],
  'a tree in which a file is a tree': [
    packOf([
      { kind: tree, data: Buffer.alloc(0) },
      { kind: tree, data: treeOf('100644', 'a', emptyTree) },
    ]),
    /named as a blob, and is a tree/,
  ],
  'a tree that ends within an entry': [
    packOf([{ kind: tree, data: Buffer.from('100644 a\0abc') }]),
    /tree [0-9a-f]{40} cannot be read/,
  ],
  'a tree that names more than there is': [
    packOf([
      {
        kind: tree,
        data: Buffer.concat(Array.from({ length: 50 }, (_, i) => treeOf('100644', `f${i}`, Buffer.alloc(20, i + 1)))),
      },
    ]),
    /more objects than are there/,
  ],
  'a tag of what is not there': [
    packOf([{ kind: tag, data: Buffer.from(`object ${absent.toString('hex')}\ntype commit\ntag x\n\nx`) }]),
    /did not arrive/,
  ],
  'a tag without an object': [packOf([{ kind: tag, data: Buffer.from('tag x') }]), /tag [0-9a-f]{40} cannot be read/],
  'an object that was made to collide': [packOf([text('x'), { kind: blob, data: shattered[0] }]), collides, byContent],
  'a delta that makes an object which was made to collide': [
    packOf([
      text('x'),
      { kind: offsetDelta, data: replacing(1, shattered[1]), distance: entryBytes(text('x')).length },
    ]),
    collides,
    byContent,
  ],
  'another object with an id that is known': [
    packOf([text('new')]),
    /two objects have the same id/,
    { known: knows('blob', idOf('blob', Buffer.from('new')), Buffer.from('old')) },
  ],
  'an object of another kind with an id that is known': [
    packOf([text('same')]),
    /two objects have the same id/,
    { known: knows('tree', idOf('blob', Buffer.from('same')), Buffer.from('same')) },
  ],
  'a tree in which something known is of another kind': [
    packOf([{ kind: tree, data: treeOf('40000', 'a', absent) }]),
    /as a tree, and it is a blob/,
    { known: knows('blob', absent, Buffer.from('x')) },
  ],
};

for (const [what, [pack, expected, options]] of Object.entries(hostile)) {
  test(`refused, and nothing of it left: a pack with ${what}`, async (t) => {
    const directory = scratch(t);
    const error = await t.throwsAsync(receivePack(pieces(pack), directory, { ...defaults, ...options }));
    t.regex(error?.message ?? '', expected);
    t.deepEqual(readdirSync(directory), []);
  });
}

// In a process that does nothing else: what others do at the same time takes memory too.
test('what is refused takes little memory, whatever it says of its size', async (t) => {
  const directory = scratch(t);
  const paths = Object.values(hostile).map(([pack], i) => {
    const path = join(directory, `${i}.hostile`);
    writeFileSync(path, pack);
    return path;
  });
  const source = (path: string) => JSON.stringify(new URL(`../../../src/git/${path}`, import.meta.url));
  const script = `
    import { mkdtempSync, readFileSync } from 'node:fs';
    import { sha1 } from ${source('hash.js')};
    import { packLimits } from ${source('packs/pack-limits.js')};
    import { receivePack } from ${source('packs/receive-pack.js')};
    const known = { typeOf: () => undefined, read: () => undefined, rescan() {}, close() {} };
    const options = { hash: sha1, known, shallow: new Set(), limits: packLimits, monotonic: () => performance.now() };
    async function* pieces(path) { yield readFileSync(path); }
    const take = (path) => receivePack(pieces(path), mkdtempSync(${JSON.stringify(join(directory, 'in-'))}), options).catch(() => {});
    const [first, ...others] = process.argv.slice(1);
    await take(first);
    const before = process.resourceUsage().maxRSS;
    for (const path of others) await take(path);
    console.log(process.resourceUsage().maxRSS - before);`;
  const args = ['--input-type=module', '--eval', script, '--', ...paths];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  const grown = Number(stdout) * 1024;
  t.true(grown < 256 * 1024 ** 2, `${grown} bytes`);
});

test('indexing gives up when it takes longer than allowed', async (t) => {
  let now = 0;
  const monotonic = () => (now += 1_000);
  const many = packOf(Array.from({ length: 5_000 }, (_, i) => text(String(i))));
  const limits = { ...packLimits, milliseconds: 1_500 };
  const error = await t.throwsAsync(receivePack(pieces(many), scratch(t), { ...defaults, monotonic, limits }));
  t.regex(error?.message ?? '', /longer than 1500 ms/);
});

test('what is within the rules is taken: submodules that are not there, a cut history, chains up to the limit', async (t) => {
  const empty: PackEntry = { kind: tree, data: Buffer.alloc(0) };
  const cut = commitOf(emptyTree, absent);
  const cases: [PackEntry[], Partial<IndexOptions>][] = [
    [[{ kind: tree, data: treeOf('160000', 'sub', absent) }], {}],
    [[empty, { kind: commit, data: cut }], { shallow: new Set([idOf('commit', cut).toString('hex')]) }],
    [chain(10), { limits: { ...packLimits, depth: 10 } }],
    [[{ kind: tree, data: treeOf('40000', 'a', absent) }], { known: knows('tree', absent, Buffer.alloc(0)) }],
    [[], {}],
  ];
  for (const [entries, options] of cases) {
    const path = join(scratch(t), 'a.pack');
    writeFileSync(path, packOf(entries));
    const file = openSync(path, 'r+');
    t.is((await indexPack(file, { ...defaults, ...options })).table.count, entries.length);
    closeSync(file);
  }
});

test('deltas of objects that had to make room are resolved all the same', async (t) => {
  // A comb: each object of a chain has a further delta, so that all of them are wanted again when the chain has come to its end.
  const base = 'q'.repeat(4_000_000);
  const entries: PackEntry[] = [text(base)];
  const offsets = [0];
  let at = entryBytes(entries[0] as PackEntry).length;
  const add = (entry: PackEntry): void => {
    entries.push(entry);
    offsets.push(at);
    at += entryBytes(entry).length;
  };
  const delta = (length: number, more: string): Buffer => {
    const parts: number[] = [...varint(length), ...varint(length + 1)];
    for (let from = 0; from < length; from += 0xffff00) {
      const size = Math.min(0xffff00, length - from);
      parts.push(
        0xff,
        from & 255,
        (from >>> 8) & 255,
        (from >>> 16) & 255,
        from >>> 24,
        size & 255,
        (size >>> 8) & 255,
        size >>> 16,
      );
    }
    return Buffer.from([...parts, 1, more.charCodeAt(0)]);
  };
  let parent = 0;
  for (let i = 0; i < 40; i++) {
    const length = base.length + i;
    const chained: PackEntry = { kind: offsetDelta, data: delta(length, 'a'), distance: at - (offsets[parent] ?? 0) };
    const from = offsets[parent] ?? 0;
    add(chained);
    const next = entries.length - 1;
    add({ kind: offsetDelta, data: delta(length, 'b'), distance: at - from });
    parent = next;
  }
  const pack = packOf(entries);
  const directory = scratch(t);
  await receivePack(pieces(pack), directory, defaults);
  t.deepEqual(readFileSync(join(directory, onlyIndex(directory))), gitIndex(directory, pack));
});
