import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { sha1 } from '../../../src/git/hash.js';
import { openIdTable } from '../../../src/git/objects/id-table.js';
import { createPageCache, openPagedFile } from '../../../src/git/objects/paged-file.js';
import { rounds } from '../../support/rounds.js';

const directory = mkdtempSync(join(tmpdir(), 'memoir-ids-'));
test.after.always(() => rmSync(directory, { recursive: true, force: true }));

/** Ids that are random, or that somebody chose to be alike. */
const ids = fc.oneof(
  fc.uint8Array({ minLength: 20, maxLength: 20 }),
  fc.uint8Array({ minLength: 2, maxLength: 2 }).map((end) => Uint8Array.of(...new Uint8Array(18).fill(7), ...end)),
  fc.uint8Array({ minLength: 17, maxLength: 17 }).map((end) => Uint8Array.of(7, 7, 7, ...end)),
);
const manyIds = fc.array(
  ids.map((id) => Buffer.from(id)),
  { maxLength: 300, size: 'max' },
);

function openTable(list: readonly Buffer[]) {
  const fanout = Buffer.alloc(1024);
  for (let first = 0; first < 256; first++) {
    fanout.writeUInt32BE(list.filter((id) => (id[0] ?? 0) <= first).length, first * 4);
  }
  const path = join(directory, 'table');
  writeFileSync(path, Buffer.concat([fanout, ...list]));
  const file = openPagedFile(path, createPageCache(65_536));
  const table = openIdTable(file, sha1, { fanoutAt: 0, idsAt: 1024 }, (what) => new Error(what));
  return { table, close: file.close };
}

test('finds the place of every id and of what is none, however alike the ids are', (t) => {
  fc.assert(
    fc.property(manyIds, fc.array(ids, { maxLength: 20 }), (list, others) => {
      const sorted = list.sort(Buffer.compare).filter((id, i) => i === 0 || !id.equals(list[i - 1] as Buffer));
      const { table, close } = openTable(sorted);
      for (const asked of [...sorted, ...others.map((id) => Buffer.from(id))]) {
        for (const length of [2, 3, 4, 5, 20]) {
          const prefix = asked.subarray(0, length);
          const expected = sorted.findIndex((id) => Buffer.compare(id, prefix) >= 0);
          const found = table.lowerBound(prefix);
          if (found !== (expected < 0 ? sorted.length : expected)) t.fail(`${prefix.toString('hex')}: ${found}`);
        }
        if (table.find(asked) !== sorted.findIndex((id) => id.equals(asked))) t.fail(asked.toString('hex'));
      }
      close();
    }),
    { numRuns: rounds(40, 100) },
  );
  t.pass();
});

test('after many were looked for in a large table the same is found', (t) => {
  const prng = fc.sample(fc.uint8Array({ minLength: 20, maxLength: 20 }), { numRuns: 3_000, seed: 7 });
  const alike = Array.from({ length: 300 }, (_, i) => Buffer.concat([Buffer.alloc(18, 9), Buffer.of(i >> 8, i & 255)]));
  const every = [...prng.map((id) => Buffer.from(id)), ...alike].sort(Buffer.compare);
  const sorted = every.filter((id, i) => i === 0 || !id.equals(every[i - 1] as Buffer));
  const { table, close } = openTable(sorted.filter((_, i) => i % 2 === 0));
  for (let round = 0; round < 2; round++) {
    for (const [i, id] of sorted.entries())
      if (table.findOften(id) !== (i % 2 === 0 ? i / 2 : -1)) t.fail(id.toString('hex'));
  }
  close();
  t.pass();
});

test('a table that is in no order, as only damage leaves it, ends every search all the same', (t) => {
  fc.assert(
    fc.property(manyIds, (list) => {
      const { table, close } = openTable(list);
      for (const id of list) {
        const place = table.lowerBound(id);
        if (place < 0 || place > list.length) t.fail(`${place}`);
      }
      close();
    }),
    { numRuns: rounds(40, 100) },
  );
  t.pass();
});
