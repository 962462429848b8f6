import type { JsonObject } from '@bufbuild/protobuf';
import test from 'ava';
import { addressKey, mentionsOf } from '../../src/domain/lineage.js';

const sha = `sha256:${'0123456789abcdef'.repeat(4)}`;
const pdh = `${'d41d8cd9'.repeat(4)}+1024`;

test('every string among the values is told, and every content address inside of one', (t) => {
  const cases: [parameters: JsonObject, texts: string[]][] = [
    [{}, []],
    [{ a: 'x', b: ['y', { c: 'z' }], d: 1, e: true, f: null, g: '' }, ['x', 'y', 'z']],
    [{ [sha]: 1 }, []],
    [{ a: sha }, [sha]],
    [{ a: `${sha}/reads.fastq` }, [sha, `${sha}/reads.fastq`]],
    [{ a: `--in=${sha} --ref keep:${pdh}/x` }, [sha, pdh, `--in=${sha} --ref keep:${pdh}/x`]],
    [{ a: `${sha}0` }, [`${sha}0`]],
    [{ a: `x${pdh}` }, [`x${pdh}`]],
    [{ a: sha.toUpperCase() }, [sha.toUpperCase()]],
    [{ a: 'x'.repeat(4097), b: '字'.repeat(1366) }, []],
    [{ a: `${'x '.repeat(4000)}${sha}` }, [sha]],
    [{ a: 'x'.repeat(4096) }, ['x'.repeat(4096)]],
  ];
  for (const [parameters, texts] of cases) {
    t.deepEqual([...mentionsOf(parameters)].sort(), [...texts].sort(), JSON.stringify(parameters).slice(0, 100));
  }
});

test('addresses come first, and no depth or breadth is too much', (t) => {
  let deep: JsonObject = { a: sha };
  for (let i = 0; i < 50_000; i++) deep = { deep };
  t.deepEqual([...mentionsOf(deep)], [sha]);
  const broad = { list: Array.from({ length: 200_000 }, (_, i) => `t${i}`), last: `in ${sha}` };
  const begun = performance.now();
  const texts = mentionsOf(broad);
  t.is(texts.size, 200_002);
  t.is([...texts][0], sha);
  t.true(performance.now() - begun < 5_000);
});

test('a key is 12 bytes and tells texts apart', (t) => {
  t.is(addressKey('a').length, 12);
  t.is(addressKey('a').toString('hex'), 'ca978112ca1bbdcafac231b3');
  t.notDeepEqual(addressKey('a'), addressKey('b'));
});
