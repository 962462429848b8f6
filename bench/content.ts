import { execFileSync } from 'node:child_process';
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { Client, credentials } from '@grpc/grpc-js';
import {
  BatchReadBlobsRequestSchema,
  BatchReadBlobsResponseSchema,
  BatchUpdateBlobsRequestSchema,
  BatchUpdateBlobsResponseSchema,
  FindMissingBlobsRequestSchema,
  FindMissingBlobsResponseSchema,
} from '../gen/build/bazel/remote/execution/v2/remote_execution_pb.js';
import { ReadRequestSchema, ReadResponseSchema, WriteRequestSchema } from '../gen/google/bytestream/bytestream_pb.js';
import { type BytesEncoding, bytesEncoding } from '../src/rpc/wire/bytes-message.js';
import { windowOfClients } from '../src/rpc/wire/windows.js';
import { memoryOf, processorOf, type Server, startCasd, startOurs } from './content-servers.js';
import { percentile } from './percentile.js';
import { table } from './table.js';

// How fast are bytes put and had? Beside a bare grpc-js server that does the same work (hash, write, sync, send), and buildbox-casd
// (MEMOIR_TEST_CASD=/path/to/it), which syncs nothing, so that it is told too what it takes with `sync` of its directory behind all that is put; all by
// the same client. And cp. What the servers take of processors for a GiB, put and had, tells more than the rates where the machine has other work. No turn is begun that would end, as long as the longest, behind the minutes; one is.
//
//     node build/bench/content.js [mebibytes of the large blob, 4096 unless given] [small blobs of 4 kB, 10000 unless given] [turns, 3 unless given]
//         [minutes, 8 unless given]
//
// What is lost by asking whether outputs are there is measured by content-hits.ts.

const pieceBytes = 1024 * 1024;
const smallBytes = 4_096;
const batchSize = 400;

type Name = { readonly hash: string; readonly sizeBytes: bigint };
type Small = { readonly digest: Name; readonly data: Uint8Array };

/** A large blob, made as it is sent, since it may be larger than the memory. */
type Large = { readonly name: Name; readonly size: number; pieces(): Generator<Buffer> };

/** Makes the blob number `n` of so many mebibytes: each mebibyte is one of 16 random ones, with a number of its own in front. */
function makeLarge(mebibytes: number, n: number): Large {
  const random = Array.from({ length: 16 }, () => randomBytes(pieceBytes));
  function* pieces() {
    for (let i = 0; i < mebibytes; i++) {
      const piece = Buffer.from(random[i % random.length] as Buffer);
      piece.writeUInt32LE(i, 0);
      piece.writeUInt32LE(n, 4);
      yield piece;
    }
  }
  const hash = createHash('sha256');
  for (const piece of pieces()) hash.update(piece);
  const size = mebibytes * pieceBytes;
  return { name: { hash: hash.digest('hex'), sizeBytes: BigInt(size) }, size, pieces };
}

const sha256 = (data: Uint8Array) => createHash('sha256').update(data).digest('hex');
const bytes = (message: Buffer) => message;

/** As Memoir's own clients encode it. */
const encoding = bytesEncoding(WriteRequestSchema) as BytesEncoding;

function clientOf(port: number): Client {
  return new Client(`127.0.0.1:${port}`, credentials.createInsecure(), {
    'grpc.max_receive_message_length': -1,
    'grpc.max_send_message_length': -1,
    // As Memoir's own clients have it.
    'grpc-node.flow_control_window': windowOfClients,
  });
}

function unary(client: Client, path: string, message: Uint8Array): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(path, bytes, bytes, Buffer.from(message), (error, answer) =>
      error ? reject(error) : resolve(answer as Buffer),
    );
  });
}

/** Sends messages no faster than they are taken. */
function upload(client: Client, path: string, messages: Iterable<Buffer>): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const call = client.makeClientStreamRequest(path, bytes, bytes, (error, answer) =>
      error ? reject(error) : resolve(answer as Buffer),
    );
    void (async () => {
      for (const message of messages) {
        if (!call.write(message)) await new Promise((drained) => call.once('drain', drained));
      }
      call.end();
    })();
  });
}

async function download(client: Client, path: string, message: Uint8Array, dataOf: (bytes: Buffer) => Uint8Array) {
  const hash = createHash('sha256');
  for await (const answer of client.makeServerStreamRequest(path, bytes, bytes, Buffer.from(message))) {
    hash.update(dataOf(answer as Buffer));
  }
  return hash.digest('hex');
}

/** Watches the memory of a process. @returns what gives how much more it had at most than now, in MiB */
function watched(pid: number | undefined): () => number {
  const idle = memoryOf(pid);
  let most = idle;
  const watch = setInterval(() => {
    most = Math.max(most, memoryOf(pid));
  }, 20);
  return () => {
    clearInterval(watch);
    return most - idle;
  };
}

/** What some work takes on the clock, and a process of processors meanwhile. */
async function taken(pid: number | undefined, work: () => Promise<unknown>): Promise<Taken> {
  const before = processorOf(pid);
  const time = await seconds(work);
  return { time, processor: processorOf(pid) - before };
}

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await work();
  return (performance.now() - begun) / 1_000;
}

/** Seconds. */
type Taken = { readonly time: number; readonly processor: number };

type Measured = {
  readonly up: number;
  readonly down: number;
  /** What the server took of processors meanwhile. */
  readonly upProcessor: number;
  readonly downProcessor: number;
  /** With what it takes until it is on the disk, where the server does not wait for that. */
  readonly upSynced?: number;
  readonly smallUpSynced?: number;
  readonly smallUp?: number;
  readonly smallDown?: number;
  readonly missing?: number;
  readonly memory: number;
};

const cas = '/build.bazel.remote.execution.v2.ContentAddressableStorage';

async function measureCas(
  { port, pid }: Server,
  { name, size, pieces }: Large,
  small: readonly Small[],
  unsynced?: string,
): Promise<Measured> {
  const client = clientOf(port);
  const blob = `blobs/${name.hash}/${name.sizeBytes}`;
  function* writes() {
    const resourceName = `uploads/${randomUUID()}/${blob}`;
    let at = 0;
    for (const data of pieces()) {
      const finishWrite = at + data.length === size;
      yield encoding.encode(create(WriteRequestSchema, { resourceName, writeOffset: BigInt(at), data, finishWrite }));
      at += data.length;
    }
  }
  const askMissing = async (digests: readonly Name[]) => {
    const request = create(FindMissingBlobsRequestSchema, { blobDigests: [...digests] });
    const answer = await unary(client, `${cas}/FindMissingBlobs`, toBinary(FindMissingBlobsRequestSchema, request));
    return fromBinary(FindMissingBlobsResponseSchema, answer).missingBlobDigests.length;
  };
  await askMissing([name]);
  const most = watched(pid);
  const synced = (time: number) => {
    if (unsynced === undefined) return time;
    const begun = performance.now();
    execFileSync('sync', ['-f', unsynced]);
    return time + (performance.now() - begun) / 1_000;
  };
  const up = await taken(pid, () => upload(client, '/google.bytestream.ByteStream/Write', writes()));
  const upSynced = synced(up.time);
  const down = await taken(pid, async () => {
    const request = toBinary(ReadRequestSchema, create(ReadRequestSchema, { resourceName: blob }));
    const found = await download(
      client,
      '/google.bytestream.ByteStream/Read',
      request,
      (answer) => fromBinary(ReadResponseSchema, answer).data,
    );
    if (found !== name.hash) throw new Error('other bytes came back');
  });
  const batches = Array.from({ length: Math.ceil(small.length / batchSize) }, (_, i) =>
    small.slice(i * batchSize, (i + 1) * batchSize),
  );
  const digests = small.map(({ digest }) => digest);
  const smallUp = await seconds(async () => {
    if ((await askMissing(digests)) !== small.length) throw new Error('small blobs were there already');
    await inLanes(batches, async (batch) => {
      const requests: MessageInitShape<typeof BatchUpdateBlobsRequestSchema>['requests'] = batch;
      const request = create(BatchUpdateBlobsRequestSchema, { requests: requests ?? [] });
      const answer = await unary(client, `${cas}/BatchUpdateBlobs`, toBinary(BatchUpdateBlobsRequestSchema, request));
      const failed = fromBinary(BatchUpdateBlobsResponseSchema, answer).responses.find(({ status }) => status?.code);
      if (failed) throw new Error(failed.status?.message);
    });
  });
  const smallUpSynced = synced(smallUp);
  const missing = await seconds(async () => {
    if ((await askMissing(digests)) !== 0) throw new Error('small blobs are missing');
  });
  const smallDown = await seconds(() =>
    inLanes(batches, async (batch) => {
      const request = create(BatchReadBlobsRequestSchema, { digests: batch.map(({ digest }) => digest) });
      const answer = await unary(client, `${cas}/BatchReadBlobs`, toBinary(BatchReadBlobsRequestSchema, request));
      const { responses } = fromBinary(BatchReadBlobsResponseSchema, answer);
      if (responses.some(({ data }) => data.length !== smallBytes)) throw new Error('a small blob did not come back');
    }),
  );
  client.close();
  return { ...large(up, down), upSynced, smallUp, smallUpSynced, smallDown, missing, memory: most() };
}

const large = (up: Taken, down: Taken) => ({
  up: up.time,
  down: down.time,
  upProcessor: up.processor,
  downProcessor: down.processor,
});

/** Four at a time. */
async function inLanes<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const left = items.values();
  await Promise.all(
    Array.from({ length: 4 }, async () => {
      for (const item of left) await work(item);
    }),
  );
}

async function measureSink({ port, pid }: Server, { name, pieces }: Large): Promise<Measured> {
  const client = clientOf(port);
  const most = watched(pid);
  const up = await taken(pid, () => upload(client, '/bench.Blob/Put', pieces()));
  const down = await taken(pid, async () => {
    const found = await download(client, '/bench.Blob/Get', new Uint8Array(), (answer) => answer);
    if (found !== name.hash) throw new Error('other bytes came back');
  });
  client.close();
  return { ...large(up, down), memory: most() };
}

/** Copies a file as cp(1) does that makes no clone: by reads and writes, and then on the disk. */
async function copied(directory: string, { pieces }: Large): Promise<number> {
  const [from, to] = [join(directory, 'from'), join(directory, 'to')];
  const file = await open(from, 'w');
  for (const piece of pieces()) await file.write(piece);
  await file.close();
  const time = await seconds(async () => {
    execFileSync('cp', ['--reflink=never', from, to]);
    const copy = await open(to, 'r');
    await copy.sync();
    await copy.close();
  });
  rmSync(from);
  rmSync(to);
  return time;
}

/** The middle one of an odd number of values. */
const median = (values: readonly number[]): number => percentile(values, 0.5);

async function main(mebibytes: number, count: number, mostTurns: number, minutes: number): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-bench-'));
  const servers: Server[] = [];
  const started = async (server: Promise<Server>) => {
    servers.push(await server);
    return servers.at(-1) as Server;
  };
  try {
    const sink = await started(startOurs('blob-sink', directory));
    const settings = { data_dir: join(directory, 'memoir'), listen: '127.0.0.1:0', log_level: 'error' };
    const config = JSON.stringify({ ...settings, content: { scrub_rate: 0 } });
    const memoir = await started(startOurs('memoir-server', config));
    const program = process.env.MEMOIR_TEST_CASD;
    const casd = program ? await started(startCasd(program, join(directory, 'casd'))) : undefined;
    const rows: { readonly label: string; readonly all: Measured[] }[] = [
      { label: 'the same work on a bare grpc-js stream', all: [] },
      { label: 'Memoir', all: [] },
      ...(casd ? [{ label: 'buildbox-casd, which syncs nothing', all: [] }] : []),
    ];
    const copies: number[] = [];
    // In turns, since the machine is not as fast at all times.
    const end = performance.now() + minutes * 60_000;
    let [turns, longest] = [0, 0];
    while (turns < mostTurns && (turns === 0 || performance.now() + longest < end)) {
      const turn = turns++;
      const before = performance.now();
      const large = makeLarge(mebibytes, turn);
      const small = Array.from({ length: count }, () => {
        const data = randomBytes(smallBytes);
        return { digest: { hash: sha256(data), sizeBytes: BigInt(smallBytes) }, data };
      });
      const each = [
        () => measureSink(sink, large),
        () => measureCas(memoir, large, small),
        ...(casd ? [() => measureCas(casd, large, small, join(directory, 'casd'))] : []),
      ];
      // Who is first changes, so that nobody has the better of it.
      for (const [i, measure] of each
        .map((one, of) => [of, one] as const)
        .sort(([a], [b]) => (turn % 2 ? b - a : a - b))) {
        rows[i]?.all.push(await measure());
      }
      copies.push(await copied(directory, large));
      longest = Math.max(longest, performance.now() - before);
    }

    const bytes = mebibytes * pieceBytes;
    const rate = (times: readonly number[]) => Math.round(bytes / 1e6 / median(times)).toLocaleString('en');
    const files = (times: readonly (number | undefined)[]) =>
      times.includes(undefined) ? '' : Math.round(count / median(times as number[])).toLocaleString('en');
    const processor = (times: readonly number[]) => ((median(times) / bytes) * 2 ** 30).toFixed(1);
    const cells = rows.map(({ label, all }) => [
      label,
      rate(all.map(({ up }) => up)),
      rate(all.map(({ down }) => down)),
      `${processor(all.map(({ upProcessor }) => upProcessor))}, ${processor(all.map(({ downProcessor }) => downProcessor))}`,
      files(all.map(({ smallUp }) => smallUp)),
      files(all.map(({ smallDown }) => smallDown)),
      all[0]?.missing === undefined ? '' : String(Math.round(median(all.map(({ missing = 0 }) => missing)) * 1_000)),
      String(Math.round(Math.max(...all.map(({ memory }) => memory)))),
    ]);
    const theirs = rows[2]?.all;
    if (theirs) {
      const [large, small] = [
        theirs.map(({ upSynced = Number.NaN }) => upSynced),
        theirs.map(({ smallUpSynced }) => smallUpSynced),
      ];
      cells.push(['the same, with sync behind what is put', rate(large), '', '', files(small), '', '', '']);
    }
    cells.push(['cp, and sync of the copy', rate(copies), '', '', '', '', '', '']);
    const head = [
      `${mebibytes} MiB, ${count} × 4 kB, ${turns} turns`,
      'put MB/s',
      'had MB/s',
      'server, s/GiB',
      'small put/s',
      'small had/s',
      `FindMissing of ${count}, ms`,
      'most memory above idle, MiB',
    ];
    process.stdout.write(`${table(head, cells)}\n`);
    const [base, ours] = rows.map(({ all }) => all);
    const of = (all: readonly Measured[] | undefined, to: readonly Measured[] | undefined, key: keyof Measured) =>
      `${(100 * median((to ?? []).map((one, i) => (all?.[i]?.[key] ?? Number.NaN) / (one[key] ?? Number.NaN)))).toFixed(0)} %`;
    process.stdout.write(
      `of the same work, by the median of the turns: put ${of(base, ours, 'up')}, had ${of(base, ours, 'down')}\n`,
    );
    if (theirs) {
      const put = `put ${of(theirs, ours, 'upSynced')}, small put ${of(theirs, ours, 'smallUpSynced')}`;
      process.stdout.write(`of buildbox-casd with sync: ${put}\n`);
      const small = `small put ${of(theirs, ours, 'smallUp')}, small had ${of(theirs, ours, 'smallDown')}`;
      process.stdout.write(
        `of buildbox-casd: put ${of(theirs, ours, 'up')}, had ${of(theirs, ours, 'down')}, ${small}, FindMissing ${of(theirs, ours, 'missing')}\n`,
      );
    }
  } finally {
    for (const server of servers) await server.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

const [mebibytes = '4096', count = '10000', turns = '3', minutes = '8'] = process.argv.slice(2);
await main(Number(mebibytes), Number(count), Number(turns), Number(minutes));
process.exit();
