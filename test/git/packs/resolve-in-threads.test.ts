import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { sha1 } from '../../../src/git/hash.js';
import { createPageCache } from '../../../src/git/objects/paged-file.js';
import type { IndexOptions } from '../../../src/git/packs/index-pack.js';
import { type KnownObjects, openKnownObjects } from '../../../src/git/packs/known-objects.js';
import { packLimits } from '../../../src/git/packs/pack-limits.js';
import { receivePack } from '../../../src/git/packs/receive-pack.js';
import { worthwhileHelpers } from '../../../src/git/packs/resolve-in-threads.js';
import { histories, writeHistory } from '../../support/git-history.js';
import { gitEnvironment, makeRepository } from '../../support/git-repository.js';
import {
  appending,
  blob,
  entryBytes,
  idDelta,
  idOf,
  offsetDelta,
  type PackEntry,
  packOf,
  replacing,
  tree,
} from '../../support/pack-writer.js';
import { rounds } from '../../support/rounds.js';

// Packs whose deltas are resolved by several threads; `index-pack.test.ts` has those of one.

type Store = { readonly directory: string; readonly known: KnownObjects; readonly dispose: () => void };

/** An object directory, of which nothing is known yet. */
function makeStore(): Store {
  const path = mkdtempSync(join(tmpdir(), 'memoir-packs-'));
  const directory = join(path, 'pack');
  mkdirSync(directory);
  const known = openKnownObjects(path, sha1, createPageCache(1_000_000), packLimits.deltaBytes);
  return {
    directory,
    known,
    dispose() {
      known.close();
      rmSync(path, { recursive: true, force: true });
    },
  };
}

function storeOf(t: ExecutionContext): Store {
  const store = makeStore();
  t.teardown(store.dispose);
  return store;
}

const optionsWith = (known: KnownObjects): IndexOptions => ({
  hash: sha1,
  known,
  shallow: new Set(),
  limits: packLimits,
  monotonic: () => performance.now(),
  helpers: () => 2,
});

async function* pieces(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

const indexes = (directory: string): string[] => readdirSync(directory).filter((name) => name.endsWith('.idx'));

function gitIndex(pack: Buffer): Buffer {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-packs-'));
  try {
    writeFileSync(join(directory, 'a.pack'), pack);
    execFileSync('git', ['index-pack', join(directory, 'a.pack')], { env: gitEnvironment(), stdio: 'ignore' });
    return readFileSync(join(directory, 'a.idx'));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

test("of random histories the index is git's, with deltas by offset and by id, and thin packs are completed", async (t) => {
  await fc.assert(
    fc.asyncProperty(histories(40), fc.nat(39), fc.boolean(), async (history, cut, byOffset) => {
      const repository = makeRepository();
      const store = makeStore();
      const pack = (input: string, ...how: string[]) =>
        execFileSync('git', ['pack-objects', '--revs', '--stdout', '--quiet', ...how], {
          cwd: repository.path,
          env: gitEnvironment(),
          input,
          stdio: ['pipe', 'pipe', 'ignore'],
        });
      try {
        const tips = () => repository.git('for-each-ref', '--format=%(objectname)');
        writeHistory(repository, history.slice(0, cut + 1));
        const first = pack(`${tips()}\n`, ...(byOffset ? ['--delta-base-offset'] : []));
        const options = optionsWith(store.known);
        await receivePack(pieces(first), store.directory, options);
        t.deepEqual(readFileSync(join(store.directory, indexes(store.directory)[0] ?? '')), gitIndex(first));
        store.known.rescan();
        const before = repository.git('for-each-ref', '--format=^%(objectname)');
        writeHistory(repository, history, Math.min(cut + 1, history.length));
        await receivePack(pieces(pack(`${tips()}\n${before}\n`, '--thin')), store.directory, options);
        for (const name of indexes(store.directory))
          execFileSync('git', ['verify-pack', join(store.directory, name)], { env: gitEnvironment() });
      } finally {
        repository.dispose();
        store.dispose();
      }
    }),
    { numRuns: rounds(3) },
  );
  t.pass();
});

const whole = (i: number): PackEntry => ({ kind: blob, data: Buffer.from(`what is whole, number ${i}`) });

/** So many whole objects, each with a delta behind it; `others` makes some of the deltas. */
function pairs(count: number, others: (i: number, base: PackEntry) => PackEntry | undefined = () => undefined) {
  return Array.from({ length: count }, (_, i): PackEntry[] => {
    const base = whole(i);
    const delta = {
      kind: offsetDelta,
      data: appending(base.data.length, ' and more'),
      distance: entryBytes(base).length,
    };
    return [base, others(i, base) ?? delta];
  }).flat();
}

/** Of as many pairs the thread that begins with a pack takes but a part, if it is slow. */
const manyPairs = 600;

/** Takes note of how many objects the first thread takes, and makes it slow after so many. */
function slowFrom(known: KnownObjects, first: number): { readonly known: KnownObjects; readonly taken: () => number } {
  const never = new Int32Array(new SharedArrayBuffer(4));
  let taken = 0;
  return {
    known: {
      ...known,
      typeOf(id) {
        if (++taken > first) Atomics.wait(never, 0, 0, 5);
        return known.typeOf(id);
      },
    },
    taken: () => taken,
  };
}

test('the threads share the work', async (t) => {
  const { directory, known } = storeOf(t);
  const slow = slowFrom(known, manyPairs);
  const pack = packOf(pairs(manyPairs));
  t.is(await receivePack(pieces(pack), directory, optionsWith(slow.known)), 2 * manyPairs);
  t.true(slow.taken() > manyPairs && slow.taken() < 2 * manyPairs, `${slow.taken()} were taken by the first thread`);
  t.deepEqual(readFileSync(join(directory, indexes(directory)[0] ?? '')), gitIndex(pack));
});

const atLast = manyPairs - 1;
const absent = Buffer.alloc(20, 7);

const hostile: Record<string, [PackEntry[], RegExp, Partial<IndexOptions>?]> = {
  'a delta of a base of another size': [
    pairs(manyPairs, (i, base) =>
      i === atLast ? { kind: offsetDelta, data: appending(1, 'x'), distance: entryBytes(base).length } : undefined,
    ),
    /base of another size/,
  ],
  'a delta that makes a tree of what is not there': [
    [
      ...pairs(manyPairs),
      { kind: tree, data: Buffer.alloc(0) },
      {
        kind: offsetDelta,
        data: replacing(0, Buffer.concat([Buffer.from('100644 a\0'), absent])),
        distance: entryBytes({ kind: tree, data: Buffer.alloc(0) }).length,
      },
    ],
    /object 0707[07]* is named by what arrived, and did not arrive/,
  ],
  'deltas whose base is not there': [
    pairs(manyPairs, (i) => (i % 2 === 0 ? { kind: idDelta, data: appending(1, `${i}`), baseId: absent } : undefined)),
    /300 deltas have no base that is there/,
  ],
  'an object that comes twice, with deltas of it by its id': [
    [
      ...pairs(manyPairs, (i, base) => ({
        kind: idDelta,
        data: appending(base.data.length, `${i}`),
        baseId: idOf('blob', base.data),
      })),
      ...pairs(manyPairs, () => whole(manyPairs)),
    ],
    /comes twice/,
  ],
  'more than may be put together': [
    pairs(manyPairs),
    /inflates to more than 50000 bytes/,
    { limits: { ...packLimits, inflatedBytes: 50_000 } },
  ],
};

for (const [what, [entries, expected, options]] of Object.entries(hostile)) {
  test(`refused, by whichever thread finds it, and nothing of it left: a pack with ${what}`, async (t) => {
    const { directory, known } = storeOf(t);
    const slow = slowFrom(known, entries.filter(({ kind }) => kind === blob || kind === tree).length);
    const all = { ...optionsWith(slow.known), ...options };
    const error = await t.throwsAsync(receivePack(pieces(packOf(entries)), directory, all));
    t.regex(error?.message ?? '', expected);
    t.deepEqual(readdirSync(directory), []);
  });
}

test('what is known already does no harm if it comes again', async (t) => {
  const { directory, known } = storeOf(t);
  const options = optionsWith(known);
  await receivePack(pieces(packOf([whole(0)])), directory, options);
  known.rescan();
  const before = readdirSync(directory).sort();
  await t.notThrowsAsync(receivePack(pieces(packOf(pairs(manyPairs))), directory, options));
  t.is(readdirSync(directory).length, before.length + 3);
});

test('threads help with what is large, where there are processors for them', (t) => {
  t.is(worthwhileHelpers(1_000_000), 0);
  t.true(worthwhileHelpers(1_000_000_000) <= 2);
});
