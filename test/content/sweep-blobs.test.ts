import { mkdtempSync, rmSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { openBlobFiles } from '../../src/content/blob-files.js';
import { putBlobs } from '../../src/content/put-blobs.js';
import { sweepBlobs } from '../../src/content/sweep-blobs.js';
import { buildTree } from '../../src/content/trees/build-tree.js';
import { sha256 } from '../support/content.js';

const hour = 3_600_000;
const nameOf = (data: Uint8Array) => ({ hash: sha256(data), size: data.length });

/** Blobs of two outputs that share a file, none of which anybody asked for in a while. */
async function scene(t: ExecutionContext) {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-sweep-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const now = Date.now();
  const files = await openBlobFiles({ directory, now: () => now });
  const output = (...texts: readonly string[]) => {
    const tree = buildTree(
      texts.map((text) => ({ path: `d/${text}`, blob: nameOf(Buffer.from(text)), executable: false })),
    );
    const blobs = [...texts.map((text) => Buffer.from(text)), ...tree.directories.values()];
    return { root: { name: tree.root, isTree: true }, blobs };
  };
  const [one, other, marker] = [output('own', 'shared'), output('shared', 'more'), Buffer.from('marker')];
  const all = [...one.blobs, ...other.blobs, marker, Buffer.from('nobody')];
  await putBlobs(
    files,
    all.map((data) => ({ name: nameOf(data), data })),
  );
  const age = (data: Uint8Array, ms: number) => {
    const at = (now - ms) / 1_000;
    utimesSync(files.pathOf(nameOf(data)), at, at);
  };
  for (const data of all) age(data, 2 * hour);
  const there = (...blobs: readonly Uint8Array[]) =>
    blobs.every((data) => files.askedSince(nameOf(data)) !== undefined);
  return { files, now: () => now, one, other, marker: nameOf(marker), age, there };
}

test('what hangs from a root that goes is removed with it, but for what others have', async (t) => {
  const { files, now, one, other, marker, age, there } = await scene(t);
  const sweep = sweepBlobs(files, now, marker);
  await sweep.keep([other.root]);
  t.deepEqual(sweep.unheld([one.root, other.root]), [true, false]);
  t.true(await sweep.evict(one.root));
  const { blobs } = await sweep.finish(false);
  t.is(blobs, 3, 'its root, a directory and a file');
  t.true(there(...other.blobs, Buffer.from('shared'), Buffer.from('nobody')));
  t.false(there(Buffer.from('own')));
  // What nobody names goes after a day.
  age(Buffer.from('nobody'), 25 * hour);
  const next = sweepBlobs(files, now, marker);
  await next.keep([other.root]);
  t.is((await next.finish(true)).blobs, 1);
  t.true(there(Buffer.from('nobody')));
  t.is((await next.finish(false)).blobs, 1);
  t.is((await next.finish(false)).blobs, 0);
});

test('who comes to hold a root after it was found unheld keeps all of it', async (t) => {
  const { files, now, one, other, marker, there } = await scene(t);
  const sweep = sweepBlobs(files, now, marker);
  t.deepEqual(sweep.unheld([one.root, other.root]), [true, true]);
  t.true(await files.hold(one.root.name, 24 * hour));
  t.false(await sweep.evict(one.root));
  await sweep.keep([one.root]);
  t.true(await sweep.evict(other.root));
  await sweep.finish(false);
  t.true(there(...one.blobs));
  t.false(there(Buffer.from('more')));
  // Whoever comes too late finds it gone.
  t.false(await files.hold(other.root.name, 24 * hour));
});

test('a file that somebody asks for in the midst of a sweep stays', async (t) => {
  const { files, now, one, marker, there } = await scene(t);
  const sweep = sweepBlobs(files, now, marker);
  t.true(await sweep.evict(one.root));
  t.true(files.has(nameOf(Buffer.from('own'))));
  await sweep.finish(false);
  t.true(there(Buffer.from('own')));
});

test('roots have room in their order, whose they are too, and what they share is counted once', async (t) => {
  const { files, now, one, other, marker } = await scene(t);
  const sizeOf = (blobs: readonly Uint8Array[]) => blobs.reduce((sum, { length }) => sum + length, 0);
  const [whole, both] = [sizeOf(one.blobs), sizeOf(one.blobs) + sizeOf(other.blobs) - 'shared'.length];
  const roots = [
    { ...one.root, of: 'ada' },
    { ...other.root, of: 'ada' },
  ];
  const far = Number.POSITIVE_INFINITY;
  const kept = (room: { whole: number; each: number }) => sweepBlobs(files, now, marker).keepWithin(roots, room);
  t.deepEqual(await kept({ whole: both, each: far }), [true, true]);
  t.deepEqual(await kept({ whole: both - 1, each: far }), [true, false]);
  t.deepEqual(await kept({ whole: far, each: whole }), [true, false]);
  t.deepEqual(await kept({ whole: whole - 1, each: far }), [false, sizeOf(other.blobs) <= whole - 1]);
});
