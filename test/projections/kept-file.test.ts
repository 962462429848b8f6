import {
  closeSync,
  copyFileSync,
  existsSync,
  fstatSync,
  openSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import test from 'ava';
import fc from 'fast-check';
import { allProjections } from '../../projections/all.js';
import { dumpReadModel } from '../../projections/running/database.js';
import { type KeptFile, openKeptFile } from '../../projections/running/kept-file.js';
import { DamagedFile } from '../../projections/running/page-sums.js';
import { runProjections } from '../../projections/running/runner.js';
import { readWal } from '../../projections/running/wal-file.js';
import { rounds } from '../support/rounds.js';
import { anyHistory, happen, type Told } from './history.js';
import { openScratch, type Scratch } from './scratch.js';

/** How many bits are flipped in each kind of file, each for itself. */
const flips = rounds(5);

const suffixes = ['', '-wal', '-sums'];

/** Opens a file, keeping why it was made anew. */
function open(path: string): { readonly kept: KeptFile; readonly remade: string[] } {
  const remade: string[] = [];
  return { kept: openKeptFile(path, allProjections, (why) => void remade.push(why)), remade };
}

async function follow(scratch: Scratch, { db, written }: KeptFile): Promise<string[]> {
  const stop = new AbortController();
  await runProjections(scratch.store, db, allProjections, {
    signal: stop.signal,
    batchSize: 40,
    onApplied({ live }) {
      written();
      if (live) stop.abort();
    },
  });
  return [...dumpReadModel(db, allProjections)];
}

async function scratchWithJobs(count: number): Promise<Scratch> {
  const scratch = await openScratch();
  const told: Told = new Map();
  await happen(scratch.store, fc.sample(anyHistory, { numRuns: count, seed: 11 }).flat(), told);
  return scratch;
}

/** Turns a bit of a file around. */
function flip(path: string, bit: number): void {
  const file = openSync(path, 'r+');
  const byte = Buffer.alloc(1);
  readSync(file, byte, 0, 1, bit >> 3);
  byte[0] = (byte[0] as number) ^ (1 << (bit & 7));
  writeSync(file, byte, 0, 1, bit >> 3);
  closeSync(file);
}

/** Bits all over a file. */
function bitsOf(path: string): number[] {
  const file = openSync(path, 'r');
  const bits = fstatSync(file).size * 8;
  closeSync(file);
  return Array.from({ length: flips }, (_, i) => Math.floor(((i + Math.random()) * bits) / flips));
}

function copy(from: string, to: string): string {
  for (const suffix of suffixes) {
    rmSync(to + suffix, { force: true });
    if (existsSync(from + suffix)) copyFileSync(from + suffix, to + suffix);
  }
  return to;
}

test('a bit that is flipped anywhere in a file that is closed is found when it is opened, and the file made anew', async (t) => {
  const scratch = await scratchWithJobs(12);
  const path = scratch.path('sound.sqlite');
  const first = open(path);
  const rows = await follow(scratch, first.kept);
  first.kept.close();
  t.deepEqual(first.remade, []);
  const again = open(path);
  t.deepEqual([again.remade, [...dumpReadModel(again.kept.db, allProjections)]], [[], rows]);
  again.kept.close();
  for (const suffix of ['', '-sums']) {
    for (const bit of bitsOf(path + suffix)) {
      const spoilt = copy(path, scratch.path('spoilt.sqlite'));
      flip(spoilt + suffix, bit);
      const { kept, remade } = open(spoilt);
      t.is(remade.length, 1, `bit ${bit} of ${suffix}: ${statSync(spoilt).size}`);
      t.deepEqual([...dumpReadModel(kept.db, allProjections)], []);
      if (suffix === '') t.true(existsSync(`${spoilt}.damaged`));
      kept.close();
    }
  }
  const { kept } = open(copy(path, scratch.path('spoilt.sqlite')));
  t.deepEqual(await follow(scratch, kept), rows);
  kept.close();
  await scratch.close();
});

test('a bit that is flipped anywhere while the file is open is found by the checks', async (t) => {
  const scratch = await scratchWithJobs(12);
  const path = scratch.path('open.sqlite');
  const before = open(path);
  await follow(scratch, before.kept);
  before.kept.close();
  await happen(scratch.store, fc.sample(anyHistory, { numRuns: 6, seed: 12 }).flat(), new Map());
  const { kept } = open(path);
  await follow(scratch, kept);
  kept.check();
  const frames = readWal(path);
  t.true(frames.frames > 3);
  const used = (32 + frames.frames * (24 + 4_096)) * 8;
  for (const suffix of ['', '-wal']) {
    for (const bit of bitsOf(path + suffix).filter((one) => suffix === '' || one < used)) {
      flip(path + suffix, bit);
      // The log of writes is not checked at every check: after one that took long, as on a busy machine, not for a while.
      const patience = performance.now() + 60_000;
      const found = t.throws(
        () => {
          while (performance.now() < patience) kept.check();
        },
        { instanceOf: DamagedFile },
        `bit ${bit} of ${suffix}`,
      );
      t.regex(found?.message ?? '', suffix === '' ? /^page \d+ is not what was written/ : /^its write-ahead log/);
      flip(path + suffix, bit);
    }
  }
  for (let i = 0; i < 1_000; i++) kept.check();
  rmSync(path);
  t.throws(() => kept.check(), { instanceOf: DamagedFile, message: /was removed or replaced$/ });
  kept.close();
  await scratch.close();
});

test('after a kill at any moment the file is sound, and with a flipped bit it never tells other than the log', async (t) => {
  const scratch = await scratchWithJobs(12);
  const path = scratch.path('killed.sqlite');
  const { kept } = open(path);
  await follow(scratch, kept);
  const copies: string[] = [];
  const keep = (name: string) => copies.push(copy(path, scratch.path(`${name}.sqlite`)));
  keep('written');
  await happen(scratch.store, fc.sample(anyHistory, { numRuns: 3, seed: 13 }).flat(), new Map());
  // A reader that stays keeps the log of writes from being copied in full.
  const { kept: other } = open(scratch.path('reader.sqlite'));
  other.db.prepare('ATTACH ? AS live').run(path);
  other.db.exec('BEGIN; SELECT count(*) FROM live.job');
  const rows = await follow(scratch, kept);
  keep('behind a reader');
  kept.close();
  keep('closed beside a reader');
  other.db.exec('COMMIT');
  other.close();
  for (const saved of copies) {
    const { kept: opened, remade } = open(copy(saved, scratch.path('opened.sqlite')));
    t.deepEqual(remade, [], saved);
    t.deepEqual(await follow(scratch, opened), rows, saved);
    opened.close();
    if (!existsSync(`${saved}-wal`)) continue;
    for (const bit of bitsOf(`${saved}-wal`).filter((_, i) => i % 2 === 0)) {
      const spoilt = copy(saved, scratch.path('spoilt.sqlite'));
      flip(`${spoilt}-wal`, bit);
      const { kept: mended } = open(spoilt);
      t.deepEqual(await follow(scratch, mended), rows, `${saved}, bit ${bit}`);
      mended.close();
    }
  }
  await scratch.close();
});
