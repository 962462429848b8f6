import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { inflateRawSync } from 'node:zlib';
import test from 'ava';
import fc from 'fast-check';
import { sha1, sha256 } from '../../../src/git/hash.js';
import { checkedId, checkedIdInPieces, withoutCollision } from '../../../src/git/objects/checked-id.js';
import { createCheckedSha1 } from '../../../src/git/objects/sha1-checked/checked-sha1.js';
import { compiler, deflated } from '../../../src/git/objects/sha1-checked/wasm.js';
import { idOf } from '../../support/pack-writer.js';
import { wanting } from '../../support/required.js';
import { rounds } from '../../support/rounds.js';
import { shattered, shatteredHash } from '../../support/shattered.js';

const ours = createCheckedSha1();
const hex = ({ hash, collides }: { hash: Buffer; collides: boolean }) => [hash.toString('hex'), collides];

for (const [i, file] of shattered.entries()) {
  test(`the blocks of SHAttered ${i + 1} are known for what they are, whatever follows them and however they come`, (t) => {
    t.deepEqual(hex(ours.digest('', file)), [shatteredHash, true]);
    t.deepEqual(hex(ours.digest('', file.subarray(0, 319)))[1], false);
    const more = Buffer.concat([file, Buffer.alloc(200_000, 'more')]);
    t.deepEqual(hex(ours.digest('', more)), [createHash('sha1').update(more).digest('hex'), true]);
    for (let at = 0; at < more.length; at += 4_001) ours.add(more.subarray(at, at + 4_001));
    t.deepEqual(hex(ours.digest('')), [createHash('sha1').update(more).digest('hex'), true]);
    // What comes next is not said to collide.
    t.deepEqual(hex(ours.digest('', Buffer.from('x'))), [createHash('sha1').update('x').digest('hex'), false]);
    t.throws(() => withoutCollision(ours.digest('', file)), {
      message: `object ${shatteredHash} is part of a collision attack on SHA-1`,
    });
  });
}

test('blocks that differ from those of an attack, or come behind something else, are like any other', (t) => {
  for (let bit = 0; bit < 320 * 8; bit += 7) {
    const file = Buffer.from(shattered[0]);
    file[bit >> 3] = (file[bit >> 3] as number) ^ (1 << (bit & 7));
    const { hash, collides } = ours.digest('', file);
    t.deepEqual(hash, createHash('sha1').update(file).digest());
    t.false(collides, `bit ${bit}`);
  }
  t.deepEqual(checkedId(sha1, 'blob', shattered[0]), idOf('blob', shattered[0]));
});

test('the hash is that of Node.js, of whatever comes in whatever pieces', (t) => {
  const pieces = fc.array(
    fc.tuple(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 1, max: 700 })).map(([some, times]) => {
      return Buffer.concat(Array.from({ length: times }, () => some));
    }),
    { maxLength: 6 },
  );
  const text = fc.string({ unit: 'binary-ascii', maxLength: 90 });
  fc.assert(
    fc.property(text, pieces, (header, parts) => {
      const whole = Buffer.concat([Buffer.from(header, 'latin1'), ...parts]);
      const expected = [createHash('sha1').update(whole).digest('hex'), false];
      t.deepEqual(hex(ours.digest(header, Buffer.concat(parts))), expected);
      ours.add(header);
      for (const part of parts) ours.add(part);
      t.deepEqual(hex(ours.digest('')), expected);
    }),
    { numRuns: rounds(100, 10_000) },
  );
});

for (const hash of [sha1, sha256]) {
  test(`ids of objects are git's where pieces and buffers end: ${hash.name}`, (t) => {
    for (const room of [64, 65_536, 3 * 65_536]) {
      for (let size = room - 80; size < room + 3; size++) {
        if (size < 0) continue;
        const data = Buffer.alloc(size, size);
        const expected = idOf('blob', data, hash.name);
        t.deepEqual(checkedId(hash, 'blob', data), expected);
        const [one, other] = [checkedIdInPieces(hash, 'blob', size), checkedIdInPieces(hash, 'tree', size)];
        for (let at = 0; at < size; at += 65_000) {
          one.add(data.subarray(at, at + 65_000));
          other.add(data.subarray(at, at + 65_000));
        }
        t.deepEqual([one.id(), other.id()], [expected, idOf('tree', data, hash.name)]);
      }
    }
  });
}

test('what is checked in is what its source compiles to', async (t) => {
  const run = promisify(execFile);
  const script = join(fileURLToPath(new URL('../../../../', import.meta.url)), 'scripts/sha1-checked.js');
  const directory = mkdtempSync(join(tmpdir(), 'memoir-wasm-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const own = await run('rustc', ['--version']).then(({ stdout }) => stdout.trim(), String);
  if (own !== compiler) return wanting(t, 'rust', `${compiler} is not there: ${own}`);
  try {
    await run(process.execPath, [script, directory]);
  } catch (error) {
    return wanting(t, 'rust', `it cannot compile for WebAssembly: ${String(error)}`);
  }
  const text = readFileSync(join(directory, 'wasm.ts'), 'utf8');
  const [, again = ''] = /deflated = `([^`]*)`/.exec(text) ?? [];
  const inflated = (base64: string) => inflateRawSync(Buffer.from(base64, 'base64'));
  t.true(inflated(again).equals(inflated(deflated)), 'another module comes of the source');
  return undefined;
});
