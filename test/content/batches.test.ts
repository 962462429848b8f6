import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { openBlobFiles } from '../../src/content/blob-files.js';
import { getBlobs } from '../../src/content/get-blobs.js';
import { putBlobs } from '../../src/content/put-blobs.js';
import { rounds } from '../support/rounds.js';

function scratch(t: ExecutionContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-batches-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

const blob = (data: Buffer) => ({
  name: { hash: createHash('sha256').update(data).digest('hex'), size: data.length },
  data,
});

type Made = ReturnType<typeof blob>;

const pathOf = (directory: string, { name: { hash } }: Made) => join(directory, 'blobs', hash.slice(0, 2), hash);
const journals = (directory: string) =>
  readdirSync(join(directory, 'batches')).map((name) => join(directory, 'batches', name));

/** What a crash leaves of a file whose bytes the disk was not asked to keep. */
const damages = ['gone', 'empty', 'half', 'zeros', 'whole'] as const;

function damage(path: string, how: (typeof damages)[number]): void {
  if (how === 'whole' || !existsSync(path)) return;
  if (how === 'gone') {
    rmSync(path);
    return;
  }
  const { size } = statSync(path);
  chmodSync(path, 0o600);
  if (how === 'zeros') writeFileSync(path, Buffer.alloc(size));
  else truncateSync(path, how === 'half' ? size >> 1 : 0);
}

async function opened(directory: string, now: () => number = Date.now) {
  return openBlobFiles({ directory, now, free: async () => ({ free: 2 ** 40, whole: 2 ** 41 }) });
}

test('what was kept in batches is there after a crash that leaves any part of what was not synced, and nothing half', async (t) => {
  const batch = fc.array(fc.record({ bytes: fc.integer({ min: 1, max: 3_000 }), how: fc.constantFrom(...damages) }), {
    minLength: 1,
    maxLength: 12,
  });
  const crash = fc.record({
    batches: fc.array(batch, { minLength: 1, maxLength: 4 }),
    last: batch,
    /** How much of the last journal is there of what the last batch wrote, and whether a byte of it is another one. */
    cut: fc.double({ min: 0, max: 1, noNaN: true }),
    flip: fc.boolean(),
    settled: fc.nat(4),
  });
  const directory = scratch(t);
  await fc.assert(
    fc.asyncProperty(crash, async ({ batches, last, cut, flip, settled }) => {
      const files = await opened(directory);
      const kept: { readonly made: Made; readonly how: (typeof damages)[number] }[] = [];
      for (const [i, one] of batches.entries()) {
        const made = one.map(({ bytes, how }) => ({ made: blob(randomBytes(bytes)), how }));
        t.true(
          (
            await putBlobs(
              files,
              made.map((each) => each.made),
            )
          ).every((error) => error === undefined),
        );
        kept.push(...made);
        if (i + 1 === settled) {
          await files.batches.settle();
          // From here on they are on the disk by themselves.
          for (const [at, each] of kept.entries()) kept[at] = { ...each, how: 'whole' };
        }
      }
      // Of the last batch nobody was told that it is kept.
      const before = journals(directory).map((path) => statSync(path).size);
      const untold = last.map(({ bytes }) => blob(randomBytes(bytes)));
      await putBlobs(files, untold);
      files.batches.close();
      const all = journals(directory).sort((a, b) => statSync(a).mtimeMs - statSync(b).mtimeMs);
      const path = all.at(-1) as string;
      const from = all.length > before.length ? 0 : (before.at(-1) as number);
      const bytes = readFileSync(path);
      const end = from + Math.floor((bytes.length - from) * cut);
      if (flip && end > from) bytes.writeUInt8(bytes.readUInt8(end - 1) ^ 1, end - 1);
      writeFileSync(path, bytes.subarray(0, end));
      // Files are made once the journal is synced, so none of what was cut off.
      for (const one of untold) damage(pathOf(directory, one), 'gone');
      const names = [...kept.map(({ made }) => made), ...untold];
      // What is made anew is not on the disk either, should there be another crash.
      for (let crashes = 0; crashes < 2; crashes++) {
        for (const { made, how } of kept) damage(pathOf(directory, made), how);
        const after = await opened(directory);
        const found = await getBlobs(
          after,
          names.map(({ name }) => name),
        );
        for (const [i, { name, data }] of names.entries()) {
          const had = found[i];
          t.is(after.has(name), !(had instanceof Error));
          if (had instanceof Error) {
            t.true(i >= kept.length, `a blob that was kept is lost: ${had.message}`);
            t.is(had.reason, 'BLOB_NOT_FOUND');
          } else t.true(data.equals(had as Uint8Array));
        }
        if (crashes === 1) await after.batches.settle();
        after.batches.close();
      }
      t.deepEqual(journals(directory), []);
    }),
    { numRuns: rounds(12) },
  );
});

test('a journal goes when its time has come, eldest first, and many batches of one moment share it', async (t) => {
  const directory = scratch(t);
  let now = 1_000_000;
  const files = await opened(directory, () => now);
  const made = Array.from({ length: 20 }, () => blob(randomBytes(500)));
  await Promise.all(made.map((one) => putBlobs(files, [one])));
  t.is(journals(directory).length, 1);
  await files.batches.tidy();
  t.is(journals(directory).length, 1);
  now += 31_000;
  const late = blob(randomBytes(500));
  await putBlobs(files, [late]);
  t.is(journals(directory).length, 2);
  now += 41_000;
  await files.batches.tidy();
  t.is(journals(directory).length, 1);
  now += 41_000;
  await files.batches.tidy();
  t.deepEqual(journals(directory), []);
  for (const one of [...made, late]) t.true(readFileSync(pathOf(directory, one)).equals(one.data));
  files.batches.close();
});

test('an end waits so long for the disk and no longer, and what is left is settled by the next start', async (t) => {
  const directory = scratch(t);
  let now = 1_000_000;
  // Each look at the clock takes a while.
  const files = await opened(directory, () => now++);
  const made = Array.from({ length: 200 }, () => blob(randomBytes(20)));
  await putBlobs(files, made);
  await files.batches.settle(50);
  t.is(journals(directory).length, 1);
  files.batches.close();
  for (const one of made) damage(pathOf(directory, one), 'half');
  now += 1_000_000;
  const after = await opened(directory, () => now);
  for (const one of made) t.true(after.has(one.name));
  await after.batches.settle(50);
  t.deepEqual(journals(directory), []);
  after.batches.close();
});

test('what is removed after journals went does not come back, and a journal waits for files that are being made', async (t) => {
  const directory = scratch(t);
  const files = await opened(directory);
  const [one, other] = [blob(randomBytes(50)), blob(randomBytes(60))];
  await putBlobs(files, [one]);
  const made = await files.batches.keep([other]);
  let gone = false;
  const settled = files.batches.settle().then(() => {
    gone = true;
  });
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
  t.false(gone);
  files.replace(other);
  made();
  await settled;
  files.remove(one.name);
  files.batches.close();
  const after = await opened(directory);
  t.false(after.has(one.name));
  t.true(after.has(other.name));
  after.batches.close();
});

test('a journal that cannot be written on is no more, and the next batch has another one', async (t) => {
  const directory = scratch(t);
  const files = await opened(directory);
  const one = blob(randomBytes(50));
  // Longer than is said, so that there is no end of it.
  const wrong = { name: one.name, data: new Proxy(one.data, {}) };
  await t.throwsAsync(files.batches.keep([wrong]));
  const other = blob(randomBytes(70));
  await putBlobs(files, [other]);
  files.batches.close();
  damage(pathOf(directory, other), 'gone');
  const after = await opened(directory);
  t.true(after.has(other.name));
  t.false(after.has(one.name));
  after.batches.close();
});

test('a blob that is put blindly over one that is there takes its place whole', async (t) => {
  const directory = scratch(t);
  const files = await opened(directory);
  const one = blob(randomBytes(5_000));
  await putBlobs(files, [one]);
  damage(pathOf(directory, one), 'zeros');
  t.deepEqual(await putBlobs(files, [one], true), [undefined]);
  t.true(readFileSync(pathOf(directory, one)).equals(one.data));
  t.deepEqual(readdirSync(join(directory, 'uploads')), []);
  files.batches.close();
});
