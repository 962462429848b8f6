import {
  appendFileSync,
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type KeptCheckouts, keptCheckouts, type PlacedCheckout } from '../../../src/worker/run/kept-checkouts.js';

const code = { objectFormat: 'sha1', entries: [] } as const;

/** A checkout of 20 files, a link and a directory in a place, as a script finds it. */
async function placed(kept: KeptCheckouts, place: string, key: string, bytes = 140): Promise<PlacedCheckout> {
  mkdirSync(join(place, 'd'), { recursive: true });
  for (let n = 0; n < 20; n++) writeFileSync(join(place, n % 2 === 0 ? `f${n}` : `d/f${n}`), `file ${n}`);
  symlinkSync('f0', join(place, 'link'));
  const checkout = { key, place, done: { entries: 22, bytes, code }, marks: undefined };
  await kept.mark(checkout);
  return checkout;
}

function scene(t: ExecutionContext, most = 1_000_000) {
  const base = mkdtempSync(join(tmpdir(), 'memoir-kept-'));
  t.teardown(() => rmSync(base, { recursive: true, force: true }));
  let names = 0;
  return { base, place: join(base, 'tree'), kept: keptCheckouts(join(base, 'kept'), most, () => `${names++}`) };
}

/** What may become of a checkout at a path; sizes and times of what is written stay as they were. */
const touches: Readonly<Record<string, (tree: string) => void>> = {
  'bytes of a file, its times set back': (tree) => {
    const { atime, mtime } = lstatSync(join(tree, 'd/f1'));
    writeFileSync(join(tree, 'd/f1'), 'FILE 1');
    utimesSync(join(tree, 'd/f1'), atime, mtime);
  },
  'more bytes': (tree) => appendFileSync(join(tree, 'f2'), 'x'),
  'a mode': (tree) => chmodSync(join(tree, 'f2'), 0o755),
  'a mode, and back': (tree) => {
    chmodSync(join(tree, 'f2'), 0o755);
    chmodSync(join(tree, 'f2'), 0o644);
  },
  'the mode of a directory': (tree) => chmodSync(join(tree, 'd'), 0o700),
  'the mode of the root': (tree) => chmodSync(tree, 0o700),
  'a file that is new': (tree) => writeFileSync(join(tree, 'new'), ''),
  'a file that came and went': (tree) => {
    writeFileSync(join(tree, 'd/new'), '');
    rmSync(join(tree, 'd/new'));
  },
  'a file that is gone': (tree) => rmSync(join(tree, 'f4')),
  'another file of the same bytes in its place': (tree) => {
    const { atime, mtime } = lstatSync(join(tree, 'f6'));
    writeFileSync(join(tree, 'aside'), 'file 6');
    utimesSync(join(tree, 'aside'), atime, mtime);
    renameSync(join(tree, 'aside'), join(tree, 'f6'));
  },
  'another name of a file': (tree) => linkSync(join(tree, 'f8'), join(tree, '..', 'outside')),
  'a link that leads elsewhere': (tree) => {
    rmSync(join(tree, 'link'));
    symlinkSync('f2', join(tree, 'link'));
  },
  'all of it': (tree) => rmSync(tree, { recursive: true }),
  'a file in place of the root': (tree) => {
    rmSync(tree, { recursive: true });
    writeFileSync(tree, '');
  },
};

for (const [what, touch] of Object.entries(touches)) {
  test(`a checkout is not given to the next run once a script changed ${what}`, async (t) => {
    const { base, place, kept } = scene(t);
    const checkout = await placed(kept, place, 'a');
    touch(place);
    await kept.keep(checkout);
    t.is(await kept.take('a', join(base, 'next')), undefined);
    t.false(existsSync(join(base, 'next')));
    // Nor where it is kept.
    const other = await placed(kept, join(base, 'other'), 'a');
    await kept.keep(other);
    touch(join(base, 'kept', '0'));
    t.is(await kept.take('a', join(base, 'next')), undefined);
    t.false(existsSync(join(base, 'next')));
    t.false(existsSync(join(base, 'kept', '0')));
  });
}

test('a checkout that is as it was is given to one run after the other, for its own tree alone, and to one at a time', async (t) => {
  const { base, place, kept } = scene(t);
  await kept.keep(await placed(kept, place, 'a'));
  t.false(existsSync(place));
  t.is(await kept.take('b', place), undefined);
  for (let run = 0; run < 3; run++) {
    const taken = await kept.take('a', place);
    t.is(taken?.done.entries, 22);
    t.is(await kept.take('a', join(base, 'second')), undefined);
    t.is(readFileSync(join(place, 'd/f19'), 'utf8'), 'file 19');
    if (taken) await kept.keep(taken);
  }
  const taken = await kept.take('a', place);
  writeFileSync(join(place, 'f0'), 'FILE 0');
  if (taken) await kept.keep(taken);
  t.is(await kept.take('a', join(base, 'second')), undefined);
});

test('what is kept takes so much of the disk at most, what was used least lately goes first; what is small is not kept', async (t) => {
  // An entry counts 4,096 bytes beside its content.
  const { base, place, kept } = scene(t, 2 * (22 * 4_096 + 140));
  for (const key of ['a', 'b']) await kept.keep(await placed(kept, place, key));
  const again = await kept.take('a', place);
  if (again) await kept.keep(again);
  await kept.keep(await placed(kept, place, 'c'));
  t.is(await kept.take('b', join(base, 'b')), undefined);
  for (const key of ['a', 'c']) t.truthy(await kept.take(key, join(base, key)));
  const large = await placed(kept, join(base, 'large'), 'd', 1_000_000);
  await kept.keep(large);
  t.is(await kept.take('d', place), undefined);
  const small = { ...(await placed(kept, join(base, 'small'), 'e')), done: { entries: 3, bytes: 20, code } };
  await kept.keep(small);
  t.true(existsSync(join(base, 'small')));
});
