import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { createCommitGraph } from '../../../src/git/graph/commit-graph.js';
import { computeRange, descending } from '../../../src/git/graph/commit-range.js';
import { readGraphLayers } from '../../../src/git/graph/graph-layers.js';
import { rangeInLayers } from '../../../src/git/graph/range-in-layers.js';
import { rangeOnDisk } from '../../../src/git/graph/range-on-disk.js';
import { residentFromLayers } from '../../../src/git/graph/resident-from-layers.js';
import type { ResidentGraph } from '../../../src/git/graph/resident-graph.js';
import { sha1, sha256 } from '../../../src/git/hash.js';
import { readLayout } from '../../../src/git/layout.js';
import { histories, writeHistory } from '../../support/git-history.js';
import { makeRepository } from '../../support/git-repository.js';
import { rounds } from '../../support/rounds.js';

function atOnce<T>(steps: Generator<undefined, T>): T {
  for (let step = steps.next(); ; step = steps.next()) if (step.done) return step.value;
}

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
            const graph = createCommitGraph(resident);
            for (const tip of ids) {
              for (const base of ids) {
                const set = atOnce(computeRange(graph, graph.numberOf(tip), graph.numberOf(base)));
                const wanted = Array.from(descending(set), graph.idOf);
                const found = atOnce(rangeInLayers(layers, hash, tip, base));
                const text = found?.ids.toString('hex') ?? '';
                if (text !== wanted.join('')) throw new Error(`${base}..${tip}: ${text}, not ${wanted.join(' ')}`);
                const inOrder = Array.from(found?.byId ?? [], (place) => wanted[place]);
                if (inOrder.join() !== wanted.toSorted().join()) throw new Error(`${base}..${tip}: not in order`);
                ranges++;
              }
            }
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
  const range = async () => (await rangeOnDisk(layout, ends, async (steps) => atOnce(steps)))?.ids.toString('hex');
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
