import { createHash, randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { openBlobFiles } from '../../src/content/blob-files.js';
import type { ContentThread, Scrubbed } from '../../src/content/content-thread.js';
import { getBlobs } from '../../src/content/get-blobs.js';
import { putBlobs } from '../../src/content/put-blobs.js';
import { openUploads } from '../../src/content/uploads.js';
import { MemoirError } from '../../src/domain/errors.js';
import { letGo } from '../../src/threads/let-go.js';
import { startThread } from '../../src/threads/thread.js';

const gib = 1024 ** 3;

function scratch(t: ExecutionContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-content-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

const blob = (data: Buffer) => ({
  name: { hash: createHash('sha256').update(data).digest('hex'), size: data.length },
  data,
});

type Made = ReturnType<typeof blob>;

const pathOf = (directory: string, hash: string) => join(directory, 'blobs', hash.slice(0, 2), hash);

test('what would leave too little for the log is refused before anything is written, and taken once there is room', async (t) => {
  const directory = scratch(t);
  let [now, free] = [0, 2 * gib + 100];
  const files = await openBlobFiles({ directory, now: () => now, free: async () => ({ free, whole: 10 * gib }) });
  const uploads = openUploads(files, () => now);
  const large = blob(randomBytes(101));
  const full = { instanceOf: MemoirError, message: /no room for 101 bytes/ };
  await t.throwsAsync(putBlobs(files, [large]), full);
  const piece = { ...large, upload: 'u', offset: 0, finish: true };
  t.is((await t.throwsAsync(uploads.write(piece), full))?.reason, 'CONTENT_FULL');
  t.deepEqual(await putBlobs(files, [blob(randomBytes(60))]), [undefined]);
  // What was taken counts until the disk is looked at again.
  await t.throwsAsync(putBlobs(files, [blob(randomBytes(60))]), { message: /no room for 60 bytes/ });
  free = 5 * gib;
  now += 10_000;
  t.deepEqual(await uploads.write(piece), { committed: 101, complete: true });
  // A part of a large disk is more than 2 GiB.
  const other = await openBlobFiles({
    directory,
    now: () => 0,
    free: async () => ({ free: 4 * gib, whole: 100 * gib }),
  });
  await t.throwsAsync(putBlobs(other, [blob(randomBytes(9))]), { message: /no room for 9 bytes/ });
  await uploads.close();
});

test('who asks for a blob marks it, in the file itself and not at every look', async (t) => {
  const directory = scratch(t);
  let now = Date.now();
  const files = await openBlobFiles({ directory, now: () => now });
  const { name, data } = blob(randomBytes(7));
  await putBlobs(files, [{ name, data }]);
  const path = pathOf(directory, name.hash);
  utimesSync(path, 1_000, 1_000);
  t.true(files.has(name));
  const marked = statSync(path).mtimeMs;
  t.true(Math.abs(marked - now) < 1_000);
  now += 60_000;
  t.true(files.has(name));
  t.is(statSync(path).mtimeMs, marked);
  now += 3_600_000;
  await (await files.open(name)).close();
  t.true(statSync(path).mtimeMs > marked);
});

test('many small blobs are put and had, each by itself, though some are missing, empty or damaged', async (t) => {
  const directory = scratch(t);
  const files = await openBlobFiles({ directory, now: Date.now });
  const blobs = Array.from({ length: 300 }, (_, i) => blob(randomBytes(i === 7 ? 1_200_000 : (i * 37) % 5_000)));
  const wrong = { name: (blobs[1] as Made).name, data: randomBytes(37) };
  const errors = await putBlobs(files, [wrong, ...blobs]);
  t.deepEqual(
    errors.map((error) => error?.reason),
    ['DIGEST_MISMATCH', ...blobs.map(() => undefined)],
  );
  t.deepEqual(readdirSync(join(directory, 'uploads')), []);
  const [damaged, short] = [blobs[100], blobs[200]] as [Made, Made];
  const bytes = Buffer.from(damaged.data);
  bytes.writeUInt8(bytes.readUInt8(3) ^ 1, 3);
  for (const [{ name }, to] of [[damaged, bytes] as const, [short, short.data.subarray(1)] as const]) {
    const path = pathOf(directory, name.hash);
    rmSync(path);
    writeFileSync(path, to);
  }
  const unknown = blob(randomBytes(9));
  for (const asked of [[...blobs, unknown], [unknown, ...blobs].toReversed()]) {
    for (const [i, found] of (
      await getBlobs(
        files,
        asked.map(({ name }) => name),
      )
    ).entries()) {
      const { name, data } = asked[i] as Made;
      if (found instanceof MemoirError) {
        // One that was found damaged is missing from then on.
        const why = name === damaged.name && asked[0] === blobs[0] ? 'BLOB_CORRUPT' : 'BLOB_NOT_FOUND';
        t.true([damaged, short, unknown].some((one) => one.name === name));
        t.is(found.reason, why);
      } else t.true(data.equals(found), `blob ${i}`);
    }
  }
});

test('memory that is let go is gone at once', (t) => {
  const memory = new ArrayBuffer(1_000);
  letGo(memory);
  t.is(memory.byteLength, 0);
});

test('what was written aside goes when nobody touched it for long, and nothing else does', async (t) => {
  const directory = scratch(t);
  let now = Date.now();
  const files = await openBlobFiles({ directory, now: () => now });
  const uploads = openUploads(files, () => now);
  const { name, data } = blob(randomBytes(1_000));
  const piece = { name, upload: 'u', offset: 0, data: data.subarray(0, 400), finish: false };
  t.deepEqual(await uploads.write(piece), { committed: 400, complete: false });
  t.is(await files.sweepUploads(60_000), 0);
  // Its file is closed meanwhile, and found again.
  now += 120_000;
  await uploads.rest();
  t.deepEqual(await uploads.uploaded(name, 'u'), { committed: 400, complete: false });
  now += 120_000;
  await uploads.rest();
  t.is(await files.sweepUploads(60_000), 1);
  t.deepEqual(await uploads.uploaded(name, 'u'), { committed: 0, complete: false });
  t.deepEqual(readdirSync(join(directory, 'uploads')), []);
  await uploads.close();
});

test('the thread looks through all blobs, and puts those aside whose bytes are not their own', async (t) => {
  const directory = scratch(t);
  const file = new URL('../../src/content/content-thread.js', import.meta.url);
  const thread = startThread<ContentThread>(file, { directory }, { name: 'the thread that keeps content' });
  const [a, b] = [blob(randomBytes(2_000_000)), blob(randomBytes(10))];
  await thread.call.put({ blobs: [a, b] });
  t.deepEqual(await thread.call.scrub({ bytesPerSecond: 1e12 }), {
    blobs: 2,
    bytes: 2_000_010,
    corrupt: [],
  } satisfies Scrubbed);
  const path = pathOf(directory, b.name.hash);
  truncateSync(path, 0);
  writeFileSync(path, randomBytes(10));
  const { corrupt } = await thread.call.scrub({ bytesPerSecond: 1e12 });
  t.deepEqual(corrupt, [b.name]);
  t.false(existsSync(path));
  // One that takes a day is broken off when the thread ends.
  const slow = thread.call.scrub({ bytesPerSecond: 1 });
  slow.catch(() => undefined);
  await thread.close();
  await t.throwsAsync(slow);
});
