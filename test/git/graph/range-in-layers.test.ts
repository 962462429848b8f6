import { createHash } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import test from 'ava';
import fc from 'fast-check';
import { createCommitGraph } from '../../../src/git/graph/commit-graph.js';
import { computeRange, descending } from '../../../src/git/graph/commit-range.js';
import { checkIntact, closeLayers, readGraphLayers } from '../../../src/git/graph/graph-layers.js';
import { knownIntact, noteIntact } from '../../../src/git/graph/on-disk/intact-files.js';
import { type RangeFound, rangeInLayers } from '../../../src/git/graph/on-disk/range-in-layers.js';
import { rangeOnDisk } from '../../../src/git/graph/on-disk/range-on-disk.js';
import { residentFromLayers } from '../../../src/git/graph/resident-from-layers.js';
import type { ResidentGraph } from '../../../src/git/graph/resident-graph.js';
import { sha1, sha256 } from '../../../src/git/hash.js';
import { readLayout } from '../../../src/git/layout.js';
import { openRepositories } from '../../../src/git/repositories.js';
import { atOnce } from '../../../src/threads/in-turns.js';
import { histories, writeHistory } from '../../support/git-history.js';
import { makeRepository } from '../../support/git-repository.js';
import { rounds } from '../../support/rounds.js';

/** A range, of which none here is too long. */
function short(range: RangeFound | 'long' | undefined): RangeFound | undefined {
  if (range === 'long') throw new Error('the range is too long');
  return range;
}

/** When a file of now is old enough to be remembered. */
const later = () => Date.now() + 60_000;

for (const hash of [sha1, sha256]) {
  test(`ranges by the files of a commit-graph are those of the resident graph, in the same order: ${hash.name}`, (t) => {
    let ranges = 0;
    fc.assert(
      fc.property(
        fc.noBias(histories(40)),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.boolean(),
        (history, part, split) => {
          const repository = makeRepository({ bare: true, objectFormat: hash.name });
          try {
            const how = split ? ['--split=no-merge'] : [];
            const known = Math.floor(part * history.length);
            writeHistory(repository, history.slice(0, known));
            if (known > 0) repository.git('commit-graph', 'write', '--reachable', ...how);
            const ids = writeHistory(repository, history, known);
            repository.git('commit-graph', 'write', '--reachable', ...how);
            const layers = readGraphLayers(join(repository.path, 'objects'), hash) ?? [];
            const resident = residentFromLayers(layers, hash) as ResidentGraph;
            const piecewise = readGraphLayers(join(repository.path, 'objects'), hash, true, later) ?? [];
            if (!piecewise.every(({ bytes, size }) => bytes.length > size))
              throw new Error('a file was read as a whole');
            const graph = createCommitGraph(resident);
            for (const tip of ids) {
              for (const base of ids) {
                const set = atOnce(computeRange(graph, graph.numberOf(tip), graph.numberOf(base)));
                const wanted = Array.from(descending(set), graph.idOf);
                const found = short(atOnce(rangeInLayers(layers, hash, tip, base)));
                const asNeeded = short(atOnce(rangeInLayers(piecewise, hash, tip, base)));
                if (!isDeepStrictEqual(asNeeded, found))
                  throw new Error(`${base}..${tip}: not the same piece by piece`);
                const text = found?.ids.toString('hex') ?? '';
                if (text !== wanted.join('')) throw new Error(`${base}..${tip}: ${text}, not ${wanted.join(' ')}`);
                const inOrder = Array.from(found?.byId ?? [], (place) => wanted[place]);
                if (inOrder.join() !== wanted.toSorted().join()) throw new Error(`${base}..${tip}: not in order`);
                ranges++;
              }
            }
            closeLayers(piecewise);
            if (atOnce(rangeInLayers(layers, hash, ids[0] ?? '', '0'.repeat(hash.hex)))) throw new Error('no commit');
          } finally {
            repository.dispose();
          }
        },
      ),
      { numRuns: rounds(3, 100), endOnFailure: true },
    );
    t.log(`${ranges} ranges`);
    t.true(ranges > 0);
  });
}

test('a commit-graph that is damaged anywhere gives a right range or none', async (t) => {
  const repository = makeRepository({ bare: true });
  t.teardown(() => repository.dispose());
  const history = Array.from({ length: 12 }, (_, n) => ({
    parents: n === 0 ? [] : n % 4 === 3 ? [n - 1, n - 2, Math.max(0, n - 3)] : [n - 1],
    date: 1_700_000_000 - (n % 5) * 100_000,
  }));
  const ids = writeHistory(repository, history);
  repository.git('commit-graph', 'write', '--reachable');
  const path = join(repository.path, 'objects/info/commit-graph');
  chmodSync(path, 0o644);
  const sound = readFileSync(path);
  const layout = readLayout('r', repository.path);
  const ends = { tip: ids.at(-1) ?? '', base: ids[2] ?? '', keptIn: undefined };
  const range = async () => {
    const found = await rangeOnDisk(layout, ends, async (steps) => atOnce(steps));
    // Where a generation is damaged the whole is loaded, and then refused.
    return found === 'long' ? undefined : found?.ids.toString('hex');
  };
  const right = await range();
  t.truthy(right);
  let refused = 0;
  const changes = [...sound.keys()].filter((at) => at % 16 === 0 || at < 80);
  for (const at of changes) {
    const changed = Buffer.from(sound);
    changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8));
    writeFileSync(path, changed);
    if ((await range()) === undefined) refused++;
  }
  t.is(refused, changes.length, 'the checksum tells of every bit');
  for (const length of [0, 7, 100, sound.length - 1]) {
    writeFileSync(path, sound.subarray(0, length));
    t.is(await range(), undefined, `${length} bytes`);
  }
  writeFileSync(path, sound);
  t.is(await range(), right);
});

test('a range of very many generations is left to who loads all, with the same answer', async (t) => {
  const repository = makeRepository({ bare: true });
  t.teardown(() => repository.dispose());
  const history = Array.from({ length: 20 }, (_, n) => ({ parents: n === 0 ? [] : [n - 1], date: 1_700_000_000 + n }));
  const ids = writeHistory(repository, history);
  repository.git('commit-graph', 'write', '--reachable');
  const [tip = '', base = ''] = [ids.at(-1), ids[4]];
  const range = (path: string) =>
    rangeOnDisk(readLayout('r', path), { tip, base, keptIn: undefined }, async (steps) => atOnce(steps));
  const found = await range(repository.path);
  t.is(found === 'long' ? found : found?.size, 15);
  // The generation of the tip is said to be large, and the checksum is right.
  const path = join(repository.path, 'objects/info/commit-graph');
  chmodSync(path, 0o644);
  const file = readFileSync(path);
  const [layer] = readGraphLayers(join(repository.path, 'objects'), sha1) ?? [];
  const row = ids.toSorted().indexOf(tip);
  file.writeUInt32BE((200_000 << 2) >>> 0, (layer?.data.start ?? 0) + row * 36 + 28);
  createHash('sha1')
    .update(file.subarray(0, -20))
    .digest()
    .copy(file, file.length - 20);
  writeFileSync(path, file);
  t.is(await range(repository.path), 'long');
  const repositories = await openRepositories({ r: { path: repository.path } });
  t.teardown(() => repositories.close());
  const named = (refspec: string) => ({ refspec, field: 'f' });
  t.is((await repositories.range('r', { end: named(tip), minimum: named(base) })).size, 16);
});

test('a file that was found intact is known as long as it is the same, and none that is too new to be told apart', async (t) => {
  const repository = makeRepository({ bare: true });
  t.teardown(() => repository.dispose());
  const keptIn = mkdtempSync(join(tmpdir(), 'memoir-kept-'));
  t.teardown(() => rmSync(keptIn, { recursive: true, force: true }));
  const ids = writeHistory(
    repository,
    Array.from({ length: 300 }, (_, n) => ({ parents: n === 0 ? [] : [n - 1], date: 1_700_000_000 + n })),
  );
  repository.git('commit-graph', 'write', '--reachable');
  const objects = join(repository.path, 'objects');
  const path = join(objects, 'info/commit-graph');
  const layout = readLayout('r', repository.path);
  const ends = { tip: ids.at(-1) ?? '', base: ids[10] ?? '', keptIn };
  const range = async () =>
    short(await rangeOnDisk(layout, ends, async (steps) => atOnce(steps), later))?.ids.toString('hex');
  const isKnown = (now: () => number) => {
    const layers = readGraphLayers(objects, sha1, true, now) ?? [];
    closeLayers(layers);
    const known = knownIntact(keptIn);
    return layers.every(({ identity }) => identity !== undefined && known(identity));
  };
  const note = async (now: () => number) => {
    const layers = readGraphLayers(objects, sha1, false, now) ?? [];
    await checkIntact(layers);
    noteIntact(keptIn, layers);
  };
  const right = await range();
  t.truthy(right);
  await note(Date.now);
  t.false(isKnown(later), 'a file of this moment may change without a trace');
  await note(later);
  t.true(isKnown(later));
  t.false(isKnown(Date.now));
  t.is(await range(), right, 'piece by piece');

  // Who changes it in place, and sets its time back, is found out by the time that nobody sets.
  chmodSync(path, 0o644);
  const sound = readFileSync(path);
  const changed = Buffer.from(sound);
  changed[sound.length - 30] = (changed[sound.length - 30] ?? 0) ^ 1;
  writeFileSync(path, changed);
  utimesSync(path, 1_700_000_000, 1_700_000_000);
  t.false(isKnown(later));
  t.is(await range(), undefined, 'its checksum is looked at again');
  writeFileSync(path, sound);
  t.false(isKnown(later));
  t.is(await range(), right);
  await note(later);
  t.true(isKnown(later));
  repository.git('commit-graph', 'write', '--reachable', '--split=replace');
  t.false(isKnown(later), 'others are others');

  rmSync(keptIn, { recursive: true });
  t.false(isKnown(later));
  t.is(await range(), right);
});
