import { createHash } from 'node:crypto';
import test from 'ava';
import fc from 'fast-check';
import { provesConsistency, provesInclusion } from '../../../src/domain/log-tree/check-proof.js';
import { growingTree } from '../../../src/domain/log-tree/growing-tree.js';
import { consistencyProof, inclusionProof, type Nodes, rootOf } from '../../../src/domain/log-tree/proof.js';
import { nodesOfTiles, rootOfHashes } from '../../../src/domain/log-tree/tiles.js';
import { naivePath, naiveProof, naiveRoot } from './naive.js';

const hashOf = (bytes: Uint8Array) => createHash('sha256').update(Uint8Array.of(0)).update(bytes).digest();
const hex = (hash: Uint8Array | undefined) => Buffer.from(hash ?? []).toString('hex');

/** Complete subtrees computed from all leaves. */
const nodesOf =
  (leaves: readonly Uint8Array[]): Nodes =>
  (height, index) =>
    naiveRoot(leaves.slice(index * 2 ** height, (index + 1) * 2 ** height));

// The tree and proofs that Certificate Transparency's own implementations are tested with (google/certificate-transparency,
// merkletree/merkle_tree_test.cc).
const ctLeaves = [
  '',
  '00',
  '10',
  '2021',
  '3031',
  '40414243',
  '5051525354555657',
  '606162636465666768696a6b6c6d6e6f',
].map((text) => hashOf(Buffer.from(text, 'hex')));
const ctRoots = [
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
];

test('roots and proofs are those of Certificate Transparency', (t) => {
  const nodes = nodesOf(ctLeaves);
  for (const [i, root] of ctRoots.entries()) t.is(hex(rootOf(nodes, i + 1)), root);
  t.is(hex(rootOf(nodes, 0)), 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
  t.deepEqual(inclusionProof(nodes, 5, 8).map(hex), [
    'bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b',
    'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0',
    'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  ]);
  t.deepEqual(inclusionProof(nodes, 1, 5).map(hex), [
    '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
    '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
    'bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b',
  ]);
  t.deepEqual(consistencyProof(nodes, 6, 8).map(hex), [
    '0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a',
    'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0',
    'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  ]);
});

/** Leaves that all differ. */
const leavesOf = (size: number) => Array.from({ length: size }, (_, i) => hashOf(Buffer.from(String(i))));
const head = (leaves: readonly Uint8Array[]) => ({ size: leaves.length, root: naiveRoot(leaves) });

test('every proof is that of the definition and proves what it should, up to 33 leaves', (t) => {
  const all = leavesOf(33);
  for (let size = 0; size <= 33; size++) {
    const leaves = all.slice(0, size);
    const nodes = nodesOf(leaves);
    for (const [index, leaf] of leaves.entries()) {
      const proof = inclusionProof(nodes, index, size);
      t.deepEqual(proof.map(hex), naivePath(index, leaves).map(hex));
      t.true(provesInclusion(leaf, index, head(leaves), proof));
    }
    for (let older = 0; older <= size; older++) {
      const proof = consistencyProof(nodes, older, size);
      if (older > 0) t.deepEqual(proof.map(hex), naiveProof(older, leaves).map(hex));
      t.true(provesConsistency(head(leaves.slice(0, older)), head(leaves), proof), `${older} ${size}`);
    }
  }
});

/** A proof after one of the things that somebody might do to it. */
const spoilt = (proof: readonly Uint8Array[], how: number, seed: number): readonly Uint8Array[] => {
  const at = proof.length === 0 ? 0 : seed % proof.length;
  const flipped = Uint8Array.from(proof[at] ?? new Uint8Array(32), (byte, i) => (i === seed % 32 ? byte ^ 1 : byte));
  return [
    proof.with.length && proof.length > 0 ? proof.with(at, flipped) : [flipped],
    proof.toSpliced(at, proof.length > 0 ? 1 : 0, ...(proof.length > 0 ? [] : [flipped])),
    [...proof, flipped],
    [flipped, ...proof],
    proof.length > 0 ? proof.with(at, flipped.subarray(1)) : [flipped.subarray(1)],
  ][how] as readonly Uint8Array[];
};

test('what is no proof proves nothing', (t) => {
  const all = leavesOf(130);
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 130 }), fc.nat(), fc.nat(4), fc.nat(), (size, any, how, seed) => {
      const leaves = all.slice(0, size);
      const nodes = nodesOf(leaves);
      const index = any % size;
      const leaf = leaves[index] as Uint8Array;
      const proof = inclusionProof(nodes, index, size);
      t.false(provesInclusion(leaf, index, head(leaves), spoilt(proof, how, seed)));
      if (size > 1) t.false(provesInclusion(leaf, (index + 1) % size, head(leaves), proof));
      if (size > 1) t.false(provesInclusion(leaves[(index + 1) % size] as Uint8Array, index, head(leaves), proof));
      const older = 1 + (any % size);
      const consistency = consistencyProof(nodes, older, size);
      const before = head(leaves.slice(0, older));
      t.false(provesConsistency(before, head(leaves), spoilt(consistency, how, seed)));
      const other = head([...leaves.slice(0, older - 1), hashOf(Buffer.from('other'))]);
      t.false(provesConsistency(other, head(leaves), consistency));
      t.is(provesConsistency(head(leaves), before, consistency), older === size);
    }),
  );
});

test('sizes and indexes that are none prove nothing', (t) => {
  const leaf = hashOf(Buffer.from('leaf'));
  for (const n of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
    t.false(provesInclusion(leaf, n, { size: 2 ** 53, root: leaf }, []));
    t.false(provesInclusion(leaf, 0, { size: n, root: leaf }, []));
    t.false(provesConsistency({ size: n, root: leaf }, { size: n, root: leaf }, []));
  }
  t.true(provesInclusion(leaf, 0, { size: 1, root: leaf }, []));
});

test('a proof in a tree of 2^52 leaves is found and checked, beyond what bits of 32 hold', (t) => {
  // All leaves alike, so that every subtree of a height has one hash.
  const leaf = hashOf(Buffer.from('leaf'));
  const byHeight: Uint8Array[] = [leaf];
  for (let height = 1; height <= 52; height++) {
    const below = byHeight[height - 1] as Uint8Array;
    byHeight.push(rootOfHashes(Buffer.concat([below, below])));
  }
  const nodes: Nodes = (height) => byHeight[height] as Uint8Array;
  for (const size of [2 ** 52, 2 ** 52 - 1, 2 ** 33 + 12_345, 2 ** 32 + 1]) {
    const root = rootOf(nodes, size);
    for (const index of [0, 2 ** 32 - 1, 2 ** 32, size - 1]) {
      t.true(provesInclusion(leaf, index, { size, root }, inclusionProof(nodes, index, size)));
    }
    for (const older of [1, 2 ** 31 + 7, 2 ** 32, size - 1]) {
      const before = { size: older, root: rootOf(nodes, older) };
      t.true(provesConsistency(before, { size, root }, consistencyProof(nodes, older, size)));
    }
  }
});

test('tiles give the same nodes as the leaves', (t) => {
  const leaves = leavesOf(70_000);
  const rows: Buffer[][] = [leaves];
  for (const level of [1, 2]) {
    const below = rows[level - 1] as Buffer[];
    const full = Math.floor(below.length / 256);
    rows.push(
      Array.from({ length: full }, (_, tile) => rootOfHashes(Buffer.concat(below.slice(tile * 256, tile * 256 + 256)))),
    );
  }
  const asked: string[] = [];
  const nodes = nodesOfTiles((level, tile) => {
    asked.push(`${level}/${tile}`);
    return Buffer.concat((rows[level] ?? []).slice(tile * 256, tile * 256 + 256));
  });
  const tree = growingTree();
  for (const leaf of leaves) tree.add(leaf);
  const whole = { size: leaves.length, root: tree.root() };
  t.is(hex(rootOf(nodes, leaves.length)), hex(whole.root));
  for (const index of [0, 255, 256, 65_535, 65_536, 69_999]) {
    t.true(provesInclusion(leaves[index] as Uint8Array, index, whole, inclusionProof(nodes, index, leaves.length)));
  }
  for (const older of [1, 256, 257, 65_536, 65_537, 69_999]) {
    const before = { size: older, root: rootOf(nodes, older) };
    t.true(provesConsistency(before, whole, consistencyProof(nodes, older, leaves.length)));
  }
  t.is(new Set(asked).size, asked.length);
  t.throws(() => nodes(0, 70_000), { instanceOf: RangeError });
});
