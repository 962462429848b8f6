import test from 'ava';
import fc from 'fast-check';
import { growingTree } from '../../../src/domain/log-tree/growing-tree.js';
import { leafHash, leafOfText, leafText, leafTextHash, writeLeafHash } from '../../../src/domain/log-tree/leaf.js';
import { rootOfHashes } from '../../../src/domain/log-tree/tiles.js';
import { naiveRoot } from './naive.js';

test('the root is that of the definition', (t) => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ minLength: 32, maxLength: 32 }), { maxLength: 70 }), (leaves) => {
      const tree = growingTree();
      for (const leaf of leaves) tree.add(leaf);
      t.is(tree.size(), leaves.length);
      t.deepEqual(Buffer.from(tree.root()), Buffer.from(naiveRoot(leaves)));
    }),
  );
});

test('leaves may be added many at a time, as subtrees', (t) => {
  const hash = fc.uint8Array({ minLength: 32, maxLength: 32 });
  fc.assert(
    fc.property(fc.array(hash, { maxLength: 70 }), fc.array(fc.nat(6)), (leaves, heights) => {
      const tree = growingTree();
      let at = 0;
      for (const height of [...heights, ...leaves.map(() => 0)]) {
        const count = 2 ** height;
        if (at % count !== 0 || at + count > leaves.length) continue;
        tree.addSubtree(rootOfHashes(Buffer.concat(leaves.slice(at, at + count))), count);
        at += count;
      }
      t.is(tree.size(), leaves.length);
      t.deepEqual(Buffer.from(tree.root()), Buffer.from(naiveRoot(leaves)));
    }),
  );
});

const leaf = {
  stream: 'job-1',
  revision: 0,
  id: 'e1',
  type: 'JobDeleted',
  recordedAt: 1_000,
  metadata: '{"principal":"a"}',
  data: '{}',
};

test('an event has a text of its own, and a hash that does not change from version to version', (t) => {
  t.is(leafText(leaf), '["job-1",0,"e1","JobDeleted",1000,"{\\"principal\\":\\"a\\"}"]\n{}');
  t.is(leafHash(leaf).toString('hex'), '8a9869c98ad1a87881dc72b52b4697fe51a30b90c4abfb91c10e1fa01e43366e');
});

test('no two events have one text', (t) => {
  const text = fc.string({ unit: 'binary', maxLength: 8 });
  const any = fc.record({
    stream: text,
    revision: fc.nat(3),
    id: text,
    type: text,
    recordedAt: fc.nat(3),
    metadata: text,
    data: text,
  });
  fc.assert(
    fc.property(any, any, (one, other) => {
      const same = Object.keys(one).every((key) => one[key as keyof typeof one] === other[key as keyof typeof one]);
      t.is(leafText(one) === leafText(other), same);
    }),
  );
  const moved = { ...leaf, metadata: '{"principal":"a"}"]\n{}', data: '' };
  t.not(leafText(moved), leafText(leaf));
});

test('an event is read from its text, and from no other text', (t) => {
  t.deepEqual(leafOfText(leafText(leaf)), leaf);
  t.deepEqual(leafTextHash(leafText(leaf)), leafHash(leaf));
  const head = '["job-1",0,"e1","JobDeleted",1000,"{}"]';
  t.truthy(leafOfText(`${head}\n{}`));
  for (const text of [
    '',
    '\n',
    head,
    ` ${head}\n{}`,
    `${head.replace(',"{}"', '')}\n{}`,
    `{}\n{}`,
    '[[[[\n',
    'null\n1',
  ]) {
    t.is(leafOfText(text), undefined, text);
  }
  const into = Buffer.alloc(40, 9);
  writeLeafHash(leaf, into, 4);
  t.deepEqual(into.subarray(4, 36), leafHash(leaf));
  t.deepEqual([...into.subarray(0, 4), ...into.subarray(36)], [9, 9, 9, 9, 9, 9, 9, 9]);
});
