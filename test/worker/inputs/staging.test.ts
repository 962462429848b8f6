import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import test, { type ExecutionContext } from 'ava';
import { BatchReadBlobsResponseSchema } from '../../../gen/build/bazel/remote/execution/v2/remote_execution_pb.js';
import { ReadResponseSchema } from '../../../gen/google/bytestream/bytestream_pb.js';
import { ContentKind } from '../../../gen/memoir/jobs/v1/digest_pb.js';
import { type Input, InputSchema } from '../../../gen/memoir/jobs/v1/input_pb.js';
import { treeLimits } from '../../../src/content/trees/tree-limits.js';
import type { InputSource } from '../../../src/worker/inputs/fetch-blobs.js';
import { openInputCache, WrongBytes } from '../../../src/worker/inputs/input-cache.js';
import { stageInputs } from '../../../src/worker/inputs/stage-inputs.js';
import { RunFailure } from '../../../src/worker/run-failure.js';
import { digestOf, directory, sha256 } from '../../support/content.js';

const nameOf = (data: Uint8Array) => ({ hash: sha256(data), size: data.length });

/** A store that has these blobs, and counts how often each is read. */
function sourceOf(...blobs: readonly Uint8Array[]): InputSource & { readonly reads: Map<string, number> } {
  const all = new Map(blobs.map((data) => [sha256(data), data]));
  const reads = new Map<string, number>();
  const read = (hash: string) => {
    reads.set(hash, (reads.get(hash) ?? 0) + 1);
    return all.get(hash) ?? new Uint8Array();
  };
  return {
    reads,
    cas: {
      batchReadBlobs: async ({ digests = [] }) =>
        create(BatchReadBlobsResponseSchema, {
          responses: digests.map((digest) => ({ digest, data: read(digest.hash ?? ''), status: { code: 0 } })),
        }),
    },
    bytes: {
      async *read({ resourceName = '' }) {
        yield create(ReadResponseSchema, { data: read(resourceName.split('/')[1] ?? '') });
      },
    },
  };
}

function folder(t: ExecutionContext): string {
  const made = mkdtempSync(join(tmpdir(), 'memoir-staging-'));
  t.teardown(() => {
    for (const name of readdirSync(made, { recursive: true, withFileTypes: true }))
      if (name.isDirectory()) chmodSync(join(name.parentPath, name.name), 0o700);
    rmSync(made, { recursive: true, force: true });
  });
  return made;
}

const input = (tree: Uint8Array, pointer = '/it'): Input => {
  const digest = { ...digestOf(tree), kind: ContentKind.TREE };
  return create(InputSchema, { pointer, content: digest, digest });
};

/** Stages trees as inputs of a job. */
async function stage(
  t: ExecutionContext,
  source: InputSource,
  trees: readonly Uint8Array[],
  maxBytes = 2 ** 50,
  limits = treeLimits,
) {
  const base = folder(t);
  const cache = await openInputCache(join(base, 'cache'), 1_000_000);
  const places = { inputs: join(base, 'inputs'), inputsJson: join(base, 'inputs.json') };
  const job = {
    uuid: '555cf8bc-be67-5a2e-b5ea-c629c736fa70',
    inputs: trees.map((tree, i) => input(tree, `/${i}`)),
  };
  const staging = { source, cache, maxBytes, clone: false, limits };
  const signal = new AbortController().signal;
  const done = stageInputs(staging, job, randomBytes(32), places, places, signal);
  return { places, done };
}

/** A tree that holds another one so many times at each of so many levels. */
function nested(leaf: Uint8Array, times: number, levels: number): Uint8Array[] {
  const trees = [leaf];
  for (let i = 0; i < levels; i++) {
    const below = digestOf(trees.at(-1) as Uint8Array);
    const names = Array.from({ length: times }, (_, n) => String(n).padStart(4, '0'));
    trees.push(directory({ directories: names.map((name) => ({ name, digest: below })) }));
  }
  return trees;
}

test('what is more than may be staged ends it before it is written: bytes, entries, depth, what a small tree expands to', async (t) => {
  const file = randomBytes(600);
  const tree = directory({ files: [{ name: 'f', digest: digestOf(file) }] });
  const other = directory({ files: [{ name: 'g', digest: digestOf(file) }] });
  const failing = async (
    blobs: readonly Uint8Array[],
    trees: readonly Uint8Array[],
    maxBytes?: number,
    limits?: typeof treeLimits,
  ) => {
    const { places, done } = await stage(t, sourceOf(...blobs), trees, maxBytes, limits);
    const error = await t.throwsAsync(done, { instanceOf: RunFailure });
    t.is(error?.reason, 'INPUT_TOO_LARGE');
    return { places, message: error?.message ?? '' };
  };
  const both = [file, tree, other];
  // Of all inputs together, each counted as it is staged.
  const { message } = await failing(both, [tree, other], 1_000);
  t.regex(message, /more than 400 bytes/);
  const { done } = await stage(t, sourceOf(...both), [tree, other], 1_200);
  t.is((await done).bytes, 1_200n);

  const few = { entries: 100, bytes: 100_000, depth: 20, path: 200 };
  const expanding = (times: number, levels: number) => {
    const trees = nested(tree, times, levels);
    return failing([file, ...trees], [trees.at(-1) as Uint8Array], undefined, few);
  };
  t.regex((await expanding(60, 1)).message, /more than 100 entries/);
  t.regex((await expanding(1, 20)).message, /20 directories/);
  t.regex((await expanding(1, 45)).message, /20 directories|200 bytes/);
  // What holds everywhere is what holds unless others are given.
  const large = { hash: 'a'.repeat(64), sizeBytes: 2n ** 41n };
  const terabytes = nested(directory({ files: [{ name: 'f', digest: large }] }), 10, 1);
  const { places } = await stage(t, sourceOf(...terabytes), []);
  t.false(existsSync(places.inputs), 'a job without inputs is given none');
  const huge = await failing(terabytes, [terabytes.at(-1) as Uint8Array]);
  t.regex(huge.message, new RegExp(`${treeLimits.bytes} bytes`));
});

test('a blob that comes with other bytes is not staged, and one that is there is not fetched again', async (t) => {
  const file = randomBytes(600);
  const tree = directory({
    files: [
      { name: 'f', digest: digestOf(file) },
      { name: 'g', digest: digestOf(file) },
    ],
  });
  const source = sourceOf(file, tree);
  const { places, done } = await stage(t, source, [tree]);
  await done;
  t.deepEqual(readFileSync(join(places.inputs, sha256(tree), 'g')), file);
  t.is(source.reads.get(sha256(file)), 1);
  const lying = sourceOf(tree);
  const { done: failed } = await stage(t, lying, [tree]);
  const error = await t.throwsAsync(failed, { instanceOf: RunFailure });
  t.is(error?.reason, 'INPUT_LOST');
  t.true(error?.message.includes(sha256(file)));
});

test('the cache has so many bytes at most, lets go of what was used least lately, and never of what is in use', async (t) => {
  const directory = join(folder(t), 'cache');
  const blobs = Array.from({ length: 4 }, () => randomBytes(100));
  const [a, b, c, d] = blobs as [Buffer, Buffer, Buffer, Buffer];
  let fetched = 0;
  let cache = await openInputCache(directory, 300);
  const use = async (data: Buffer, during: () => Promise<void> = async () => undefined) =>
    cache.with(
      nameOf(data),
      async (file) => {
        fetched++;
        await file.writeFile(data);
      },
      async (path) => {
        t.deepEqual(readFileSync(path), data);
        await during();
      },
    );
  const there = () => blobs.map((data) => existsSync(join(directory, sha256(data))));
  for (const data of [a, b, c]) await use(data);
  await use(a);
  t.is(fetched, 3);
  await use(d);
  t.deepEqual(there(), [true, false, true, true], 'that was used least lately');
  t.false(cache.has(nameOf(b)));
  // What is in use stays, though there is more than may be, until it is used no more.
  await use(c, async () => {
    for (const data of [a, b, d]) await use(data);
    t.true(there()[2]);
  });
  t.deepEqual(there(), [false, true, true, true]);
  t.is(fetched, 6);

  // One that is too large for the cache alone is used, and gone then.
  const large = randomBytes(1_000);
  await use(large);
  t.deepEqual(readdirSync(directory).length, 0);

  // What an earlier worker left counts, and is hashed before it is used.
  for (const data of [a, b]) await use(data);
  chmodSync(join(directory, sha256(a)), 0o600);
  writeFileSync(join(directory, sha256(a)), randomBytes(100));
  mkdirSync(join(directory, 'stray'));
  const before = fetched;
  cache = await openInputCache(directory, 300);
  t.false(existsSync(join(directory, 'stray')));
  await use(a);
  await use(b);
  t.is(fetched, before + 1, 'that with other bytes alone');
  cache = await openInputCache(directory, 100);
  t.is(there().filter(Boolean).length, 1);
  const wrong = cache.with(
    nameOf(d),
    (file) => file.writeFile(a),
    async () => undefined,
  );
  await t.throwsAsync(wrong, { instanceOf: WrongBytes });
  t.false(existsSync(join(directory, sha256(d))));
});
