import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync, readdirSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import test, { type ExecutionContext } from 'ava';
import { contentClient, digestOf, directory, download, sha256, upload, writes } from '../support/content.js';
import { failure, type Refusal } from '../support/refused.js';
import { startTestServer } from '../support/server.js';
import { serverOfFile } from '../support/server-of-file.js';

const server = serverOfFile();
let client: ReturnType<typeof contentClient>;

test.serial.before(() => {
  client = contentClient(server.address(), 'ada');
});
test.after.always(() => client.close());

const content = () => join(server.config.data_dir, 'content');
const pathOf = (hash: string) => join(content(), 'blobs', hash.slice(0, 2), hash);

async function read(name: string, from = 0, limit = 0): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const { data } of client.bytes.read({
    resourceName: name,
    readOffset: BigInt(from),
    readLimit: BigInt(limit),
  })) {
    pieces.push(data);
  }
  return Buffer.concat(pieces);
}

const missing = async (...blobs: Uint8Array[]) => {
  const found = await client.cas.findMissingBlobs({ blobDigests: blobs.map(digestOf) });
  return found.missingBlobDigests.map(({ hash }) => hash);
};

const put = (...blobs: Uint8Array[]) =>
  client.cas.batchUpdateBlobs({ requests: blobs.map((data) => ({ digest: digestOf(data), data })) });

async function refuses(t: ExecutionContext, call: () => Promise<unknown>, { code, reason, naming }: Refusal) {
  const error = await failure(t, call);
  t.deepEqual([status[error.code], error.reason], [code, reason], error.message);
  if (typeof naming === 'string') t.true(error.message.includes(naming), error.message);
}

test.serial('it says what it can do', async (t) => {
  const { cacheCapabilities, lowApiVersion, highApiVersion } = await client.capabilities.getCapabilities({});
  t.deepEqual(cacheCapabilities?.digestFunctions, [1]);
  t.is(cacheCapabilities?.maxBatchTotalSizeBytes, 2n * 1024n * 1024n);
  t.is(lowApiVersion?.major, 2);
  t.is(highApiVersion?.major, 2);
  await refuses(t, () => client.capabilities.getCapabilities({ instanceName: 'other' }), {
    code: 'INVALID_ARGUMENT',
    reason: 'UNKNOWN_INSTANCE',
    naming: '"other"',
  });
});

test.serial('small blobs are put and read in batches, each by itself', async (t) => {
  const [a, b, none] = [randomBytes(1_000), randomBytes(1), Buffer.alloc(0)];
  t.deepEqual(await missing(a, b, none, a), [sha256(a), sha256(b)]);
  const { responses } = await put(a, b, none);
  t.deepEqual(
    responses.map((one) => one.status?.code),
    [0, 0, 0],
  );
  t.deepEqual(await missing(a, b, none), []);
  const absent = randomBytes(5);
  const found = await client.cas.batchReadBlobs({ digests: [a, absent, none].map(digestOf) });
  t.deepEqual(
    found.responses.map((one) => [one.status?.code, Buffer.from(one.data)]),
    [
      [0, a],
      [status.NOT_FOUND, Buffer.alloc(0)],
      [0, none],
    ],
  );
  t.true(found.responses[1]?.status?.message.includes(sha256(absent)));
});

test.serial('a blob of the wrong bytes is not kept, and those beside it are', async (t) => {
  const [right, wrong] = [randomBytes(10), randomBytes(10)];
  const digest = digestOf(wrong);
  const { responses } = await client.cas.batchUpdateBlobs({
    requests: [
      { digest, data: randomBytes(10) },
      { digest: digestOf(right), data: right },
      { digest, data: randomBytes(11) },
    ],
  });
  t.deepEqual(
    responses.map((one) => one.status?.code),
    [status.INVALID_ARGUMENT, 0, status.INVALID_ARGUMENT],
  );
  t.true(responses[0]?.status?.message.includes(digest.hash));
  t.deepEqual(await missing(right, wrong), [digest.hash]);
});

test.serial('a large blob is written and read in pieces, from anywhere', async (t) => {
  const data = randomBytes(3 * 1024 * 1024 + 7);
  const { committedSize } = await client.bytes.write(writes(upload(data), data));
  t.is(committedSize, BigInt(data.length));
  t.true((await read(download(data))).equals(data));
  t.true((await read(download(data), 1_500_000)).equals(data.subarray(1_500_000)));
  t.true((await read(download(data), 5, 2_000_000)).equals(data.subarray(5, 2_000_005)));
  t.is((await read(download(data), data.length)).length, 0);
  await refuses(t, () => read(download(data), data.length + 1), {
    code: 'OUT_OF_RANGE',
    reason: 'OUT_OF_RANGE',
    naming: String(data.length + 1),
  });
  // What is there already is not sent again.
  const again = await client.bytes.write(writes(upload(data), data));
  t.is(again.committedSize, BigInt(data.length));
});

test.serial(
  'whoever reads at once with others that are cut off is given its own bytes, although memory is used again',
  async (t) => {
    const blobs = Array.from({ length: 4 }, () => randomBytes(4 * 1024 * 1024 + 99));
    for (const data of blobs) await client.bytes.write(writes(upload(data), data, { size: 1024 * 1024 }));
    await Promise.all(
      Array.from({ length: 12 }, async (_, i) => {
        const data = blobs[i % 4] as Buffer;
        if (i % 3 > 0) {
          const from = (i % 2) * 777;
          t.true((await read(download(data), from)).equals(data.subarray(from)), `read ${i}`);
          return;
        }
        for await (const { data: first } of client.bytes.read({ resourceName: download(data) })) {
          t.true(data.subarray(0, first.length).equals(first), `read ${i} until it is cut off`);
          break;
        }
      }),
    );
  },
);

test.serial('an upload goes on where it was cut off, also at a server that was restarted', async (t) => {
  const data = randomBytes(700_000);
  const resourceName = upload(data);
  const status = () => client.bytes.queryWriteStatus({ resourceName });
  t.like(await status(), { committedSize: 0n, complete: false });
  await client.bytes.write(writes(resourceName, data.subarray(0, 300_000), { finish: false }));
  t.like(await status(), { committedSize: 300_000n, complete: false });
  t.deepEqual(await missing(data), [sha256(data)]);

  client.close();
  await server.restart();
  client = contentClient(server.address(), 'ada');
  t.like(await status(), { committedSize: 300_000n, complete: false });
  // From before: what is kept is not taken again.
  const { committedSize } = await client.bytes.write(writes(resourceName, data, { from: 262_144, size: 100_000 }));
  t.is(committedSize, 700_000n);
  t.like(await status(), { committedSize: 700_000n, complete: true });
  t.true((await read(download(data))).equals(data));
  t.deepEqual(readdirSync(join(content(), 'uploads')), []);
});

test.serial(
  'an upload of the wrong bytes is refused when it is whole, and can be made anew under its name',
  async (t) => {
    const data = randomBytes(50_000);
    const resourceName = upload(data);
    const other = Buffer.from(data);
    other[40_000] = (other[40_000] as number) ^ 1;
    await refuses(t, () => client.bytes.write(writes(resourceName, other, { size: 20_000 })), {
      code: 'INVALID_ARGUMENT',
      reason: 'DIGEST_MISMATCH',
      naming: sha256(other),
    });
    t.deepEqual(await missing(data), [sha256(data)]);
    await refuses(
      t,
      () => client.bytes.write([{ resourceName, data: Buffer.concat([data, data]), finishWrite: true }]),
      {
        code: 'INVALID_ARGUMENT',
        reason: 'DIGEST_MISMATCH',
        naming: '100000',
      },
    );
    await refuses(t, () => client.bytes.write([{ resourceName, data: data.subarray(0, 9), finishWrite: true }]), {
      code: 'INVALID_ARGUMENT',
      reason: 'UPLOAD_TOO_SHORT',
      naming: '9 bytes',
    });
    await refuses(t, () => client.bytes.write([{ resourceName, writeOffset: 10n, data: data.subarray(10) }]), {
      code: 'INVALID_ARGUMENT',
      reason: 'WRITE_GAP',
      naming: '9 bytes',
    });
    await client.bytes.write(writes(resourceName, data));
    t.deepEqual(await missing(data), []);
  },
);

test.serial(
  'two clients that write one blob at once, by one name or two, are both told that it is there',
  async (t) => {
    const data = randomBytes(400_000);
    const one = upload(data);
    const sizes = await Promise.all(
      [one, one, upload(data), upload(data)].map((name) => client.bytes.write(writes(name, data, { size: 50_000 }))),
    );
    t.deepEqual(
      sizes.map(({ committedSize }) => committedSize),
      [400_000n, 400_000n, 400_000n, 400_000n],
    );
    t.true((await read(download(data))).equals(data));
    // Of those that came later than the one that was first there may be a beginning.
    t.deepEqual(
      readdirSync(join(content(), 'uploads')).filter(
        (name) => statSync(join(content(), 'uploads', name)).size === data.length,
      ),
      [],
    );
  },
);

test.serial('a blob whose bytes were altered is never given whole, is put aside, and can be put again', async (t) => {
  const data = randomBytes(2_500_000);
  await client.bytes.write(writes(upload(data), data));
  const altered = Buffer.from(data);
  altered[2_400_000] = (altered[2_400_000] as number) ^ 1;
  const replace = (bytes: Uint8Array) => {
    const path = pathOf(sha256(data));
    truncateSync(path, 0);
    writeFileSync(path, bytes);
  };
  replace(altered);
  await refuses(t, () => read(download(data)), { code: 'DATA_LOSS', reason: 'BLOB_CORRUPT', naming: sha256(data) });
  t.false(existsSync(pathOf(sha256(data))));
  t.true(existsSync(join(content(), 'corrupt', sha256(data))));
  t.is(server.errors.splice(0).length, 1);
  t.deepEqual(await missing(data), [sha256(data)]);
  await refuses(t, () => read(download(data)), { code: 'NOT_FOUND', reason: 'BLOB_NOT_FOUND', naming: sha256(data) });
  await client.bytes.write(writes(upload(data), data));
  t.true((await read(download(data))).equals(data));
  // One that was cut is not there.
  truncateSync(pathOf(sha256(data)), 10);
  t.deepEqual(await missing(data), [sha256(data)]);
  await client.bytes.write(writes(upload(data), data));
  t.true((await read(download(data))).equals(data));
});

test.serial('a tree is walked breadth first, each directory once, and what is not there is left out', async (t) => {
  const file = randomBytes(3);
  const leaf = directory({ files: [{ name: 'f', digest: digestOf(file) }] });
  const gone = directory({ symlinks: [{ name: 'l', target: 'x' }] });
  const both = directory({
    directories: [
      { name: 'a', digest: digestOf(leaf) },
      { name: 'b', digest: digestOf(leaf) },
      { name: 'c', digest: digestOf(gone) },
    ],
  });
  const root = directory({
    directories: [
      { name: 'one', digest: digestOf(both) },
      { name: 'two', digest: digestOf(both) },
    ],
  });
  await put(file, leaf, both, root);
  const walk = async (pageSize: number, pageToken = '') => {
    const pages: string[][] = [];
    const tokens: string[] = [];
    for await (const { directories, nextPageToken } of client.cas.getTree({
      rootDigest: digestOf(root),
      pageSize,
      pageToken,
    })) {
      pages.push(directories.map((one) => sha256(directory(one))));
      tokens.push(nextPageToken);
    }
    return { pages, tokens };
  };
  const [r, b, l] = [sha256(root), sha256(both), sha256(leaf)];
  t.deepEqual((await walk(0)).pages, [[r, b, l]]);
  const { pages, tokens } = await walk(2);
  t.deepEqual(pages, [[r, b], [l]]);
  t.deepEqual((await walk(0, tokens[0])).pages, [[l]]);
  const walked = async (data: Uint8Array) => {
    for await (const _ of client.cas.getTree({ rootDigest: digestOf(data) }));
  };
  await refuses(t, () => walked(gone), { code: 'NOT_FOUND', reason: 'BLOB_NOT_FOUND', naming: sha256(gone) });
  const text = Buffer.from('no directory at all');
  await put(text);
  await refuses(t, () => walked(text), { code: 'INVALID_ARGUMENT', reason: 'NOT_A_DIRECTORY', naming: sha256(text) });
});

test.serial('bad names and sizes are refused by what is wrong with them', async (t) => {
  const data = randomBytes(4);
  const { hash } = digestOf(data);
  const uuid = randomUUID();
  const names: [name: string, reason: string][] = [
    ['', 'BAD_RESOURCE_NAME'],
    ['blobs', 'BAD_RESOURCE_NAME'],
    [`blobs/${hash}`, 'BAD_RESOURCE_NAME'],
    [`blobs/${hash}/-1`, 'BAD_RESOURCE_NAME'],
    [`blobs/${hash.toUpperCase()}/4`, 'BAD_DIGEST'],
    [`blobs/../../events.sqlite/4`, 'BAD_RESOURCE_NAME'],
    [`blobs/${'0'.repeat(63)}\0/4`, 'BAD_DIGEST'],
    [`blobs/${hash}/0`, 'BAD_DIGEST'],
    [`other/blobs/${hash}/4`, 'UNKNOWN_INSTANCE'],
    [`blobs/${'x'.repeat(5_000)}/4`, 'BAD_RESOURCE_NAME'],
  ];
  for (const [name, reason] of names) await refuses(t, () => read(name), { code: 'INVALID_ARGUMENT', reason });
  await refuses(t, () => read(`compressed-blobs/zstd/${hash}/4`), { code: 'UNIMPLEMENTED', reason: 'NOT_COMPRESSED' });
  for (const resourceName of [`uploads/../blobs/${hash}/4`, `uploads/${uuid}/${hash}/4`, `blobs/${hash}/4`]) {
    const call = () => client.bytes.write([{ resourceName, data, finishWrite: true }]);
    await refuses(t, call, { code: 'INVALID_ARGUMENT', reason: 'BAD_RESOURCE_NAME' });
  }
  await refuses(t, () => client.cas.findMissingBlobs({ blobDigests: [{ hash, sizeBytes: -4n }] }), {
    code: 'INVALID_ARGUMENT',
    reason: 'BAD_DIGEST',
    naming: '-4',
  });
  await refuses(t, () => client.cas.findMissingBlobs({ blobDigests: [], digestFunction: 9 }), {
    code: 'INVALID_ARGUMENT',
    reason: 'NO_SUCH_DIGEST_FUNCTION',
    naming: 'BLAKE3',
  });
  const large = { hash, sizeBytes: 3n * 1024n * 1024n };
  await refuses(t, () => client.cas.batchReadBlobs({ digests: [large] }), {
    code: 'INVALID_ARGUMENT',
    reason: 'BATCH_TOO_LARGE',
    naming: '3145728',
  });
  t.deepEqual(await missing(data), [hash]);
});

test.serial('who is not a worker everywhere has nothing by an address, whether it is there or not', async (t) => {
  const policy = join(server.config.data_dir, 'policy.toml');
  writeFileSync(
    policy,
    '[[grants]]\nto = ["wil"]\nroles = ["worker"]\nrepositories = ["**"]\n' +
      '[[grants]]\nto = ["bob"]\nroles = ["auditor", "worker"]\nrepositories = ["a/*"]\n',
  );
  const guarded = await startTestServer({ settings: { policy } });
  const [wil, bob] = [contentClient(guarded.address(), 'wil'), contentClient(guarded.address(), 'bob')];
  try {
    const [there, absent] = [randomBytes(9), randomBytes(9)];
    await wil.cas.batchUpdateBlobs({ requests: [{ digest: digestOf(there), data: there }] });
    const told = new Set<string>();
    for (const data of [there, absent]) {
      const calls = [
        () => bob.cas.findMissingBlobs({ blobDigests: [digestOf(data)] }),
        () => bob.cas.batchReadBlobs({ digests: [digestOf(data)] }),
        () => bob.cas.batchUpdateBlobs({ requests: [{ digest: digestOf(data), data }] }),
        () => bob.cas.getTree({ rootDigest: digestOf(data) }).next(),
        () => bob.bytes.read({ resourceName: download(data) }).next(),
        () => bob.bytes.write(writes(upload(data), data)),
        () => bob.bytes.queryWriteStatus({ resourceName: upload(data) }),
      ];
      for (const call of calls) {
        const error = await failure(t, call);
        t.is(status[error.code], 'PERMISSION_DENIED');
        told.add(error.message);
      }
    }
    t.is(told.size, 1);
    const { missingBlobDigests } = await wil.cas.findMissingBlobs({ blobDigests: [there, absent].map(digestOf) });
    t.deepEqual(
      missingBlobDigests.map(({ hash }) => hash),
      [sha256(absent)],
    );
  } finally {
    wil.close();
    bob.close();
    await guarded.dispose();
  }
});
