import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
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
import { startChild } from './child-server.js';
import { table } from './table.js';

// How fast are bytes put and had? Beside a bare grpc-js server that does the same work (hash, write, sync, send), and buildbox-casd
// (MEMOIR_TEST_CASD=/path/to/it), which syncs nothing; all by the same client.
//
//     node build/bench/content.js [mebibytes of the large blob, 1024 unless given] [small blobs of 4 kB, 10000 unless given]

const pieceBytes = 1024 * 1024;
const smallBytes = 4_096;
const batchSize = 400;

type Name = { readonly hash: string; readonly sizeBytes: bigint };
type Small = { readonly digest: Name; readonly data: Uint8Array };
type Server = { readonly port: number; readonly pid: number | undefined; stop(): Promise<void> };

const sha256 = (data: Uint8Array) => createHash('sha256').update(data).digest('hex');
const bytes = (message: Buffer) => message;

function clientOf(port: number): Client {
  return new Client(`127.0.0.1:${port}`, credentials.createInsecure(), {
    'grpc.max_receive_message_length': -1,
    'grpc.max_send_message_length': -1,
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
function upload(client: Client, path: string, messages: Iterable<Uint8Array>): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const call = client.makeClientStreamRequest(path, bytes, bytes, (error, answer) =>
      error ? reject(error) : resolve(answer as Buffer),
    );
    void (async () => {
      for (const message of messages) {
        if (!call.write(Buffer.from(message))) await new Promise((drained) => call.once('drain', drained));
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

/** Resident memory of a process in MiB (proc(5)). */
function memory(pid: number | undefined): number {
  const status = process.platform === 'linux' && pid ? readFileSync(`/proc/${pid}/status`, 'utf8') : '';
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? Number.NaN) / 1024;
}

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await work();
  return (performance.now() - begun) / 1_000;
}

type Measured = {
  readonly up: number;
  readonly down: number;
  readonly smallUp?: number;
  readonly smallDown?: number;
  readonly missing?: number;
  readonly memory: number;
};

const cas = '/build.bazel.remote.execution.v2.ContentAddressableStorage';

async function measureCas(
  { port, pid }: Server,
  large: Buffer,
  name: Name,
  small: readonly Small[],
): Promise<Measured> {
  const client = clientOf(port);
  const blob = `blobs/${name.hash}/${name.sizeBytes}`;
  function* writes() {
    const resourceName = `uploads/${randomUUID()}/${blob}`;
    for (let at = 0; at < large.length; at += pieceBytes) {
      const data = large.subarray(at, at + pieceBytes);
      const finishWrite = at + data.length === large.length;
      yield toBinary(
        WriteRequestSchema,
        create(WriteRequestSchema, { resourceName, writeOffset: BigInt(at), data, finishWrite }),
      );
    }
  }
  const askMissing = async (digests: readonly Name[]) => {
    const request = create(FindMissingBlobsRequestSchema, { blobDigests: [...digests] });
    const answer = await unary(client, `${cas}/FindMissingBlobs`, toBinary(FindMissingBlobsRequestSchema, request));
    return fromBinary(FindMissingBlobsResponseSchema, answer).missingBlobDigests.length;
  };
  await askMissing([name]);
  const idle = memory(pid);
  let most = idle;
  const watch = setInterval(() => {
    most = Math.max(most, memory(pid));
  }, 20);
  const up = await seconds(() => upload(client, '/google.bytestream.ByteStream/Write', writes()));
  const down = await seconds(async () => {
    const request = toBinary(ReadRequestSchema, create(ReadRequestSchema, { resourceName: blob }));
    const found = await download(
      client,
      '/google.bytestream.ByteStream/Read',
      request,
      (answer) => fromBinary(ReadResponseSchema, answer).data,
    );
    if (found !== name.hash) throw new Error('other bytes came back');
  });
  clearInterval(watch);
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
  return { up, down, smallUp, smallDown, missing, memory: most - idle };
}

/** Four at a time. */
async function inLanes<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const left = items.values();
  await Promise.all(
    Array.from({ length: 4 }, async () => {
      for (const item of left) await work(item);
    }),
  );
}

async function measureSink({ port, pid }: Server, large: Buffer, name: Name): Promise<Measured> {
  const client = clientOf(port);
  function* messages() {
    for (let at = 0; at < large.length; at += pieceBytes) yield large.subarray(at, at + pieceBytes);
  }
  const idle = memory(pid);
  const up = await seconds(() => upload(client, '/bench.Blob/Put', messages()));
  const down = await seconds(async () => {
    const found = await download(client, '/bench.Blob/Get', new Uint8Array(), (answer) => answer);
    if (found !== name.hash) throw new Error('other bytes came back');
  });
  client.close();
  return { up, down, memory: memory(pid) - idle };
}

async function startCasd(program: string, directory: string): Promise<Server> {
  const port = await new Promise<number>((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const found = (probe.address() as { port: number }).port;
      probe.close(() => resolve(found));
    });
  });
  const args = [`--bind=127.0.0.1:${port}`, '--reserved=1M', '--log-level=info', directory];
  const child: ChildProcess = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  await new Promise<void>((resolve, reject) => {
    child.stderr?.on('data', (text: Buffer) => text.includes('Server listening') && resolve());
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`${program} ended with ${code}`)));
  });
  return {
    port,
    pid: child.pid,
    async stop() {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill();
      await ended;
    },
  };
}

async function main(mebibytes: number, count: number): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-bench-'));
  const large = randomBytes(mebibytes * 1024 * 1024);
  const name = { hash: sha256(large), sizeBytes: BigInt(large.length) };
  const small = Array.from({ length: count }, () => {
    const data = randomBytes(smallBytes);
    return { digest: { hash: sha256(data), sizeBytes: BigInt(smallBytes) }, data };
  });
  const found: [string, Measured][] = [];
  const using = async (label: string, server: Server, measure: () => Promise<Measured>) => {
    try {
      found.push([label, await measure()]);
    } finally {
      await server.stop();
    }
  };
  const ofChild = (child: Awaited<ReturnType<typeof startChild>>): Server => ({
    port: child.port,
    pid: child.child.pid,
    stop: () => child.stop(),
  });
  try {
    const sink = ofChild(await startChild('blob-sink', directory));
    await using('the same work on a bare grpc-js stream', sink, () => measureSink(sink, large, name));
    const settings = { data_dir: join(directory, 'memoir'), listen: '127.0.0.1:0', log_level: 'error' };
    const memoir = ofChild(
      await startChild('memoir-server', JSON.stringify({ ...settings, content: { scrub_rate: 0 } })),
    );
    await using('Memoir', memoir, () => measureCas(memoir, large, name, small));
    const program = process.env.MEMOIR_TEST_CASD;
    if (program) {
      const casd = await startCasd(program, join(directory, 'casd'));
      await using('buildbox-casd, which syncs nothing', casd, () => measureCas(casd, large, name, small));
    }
    const [from, to] = [join(directory, 'from'), join(directory, 'to')];
    writeFileSync(from, large);
    const copied = await seconds(async () => copyFileSync(from, to));

    const rate = (time: number) => Math.round(large.length / 1e6 / time).toLocaleString('en');
    const files = (time: number | undefined) =>
      time === undefined ? '' : Math.round(count / time).toLocaleString('en');
    const rows = found.map(([label, one]) => [
      label,
      rate(one.up),
      rate(one.down),
      files(one.smallUp),
      files(one.smallDown),
      one.missing === undefined ? '' : String(Math.round(one.missing * 1_000)),
      String(Math.round(one.memory)),
    ]);
    rows.push(['copy of the file', rate(copied), '', '', '', '', '']);
    const head = [
      `${mebibytes} MiB, ${count} × 4 kB`,
      'put MB/s',
      'had MB/s',
      'small put/s',
      'small had/s',
      `FindMissing of ${count}, ms`,
      'memory above idle, MiB',
    ];
    process.stdout.write(`${table(head, rows)}\n`);
    const [[, base] = [], [, ours] = []] = found;
    if (base && ours) {
      const part = (one: number, other: number) => `${((100 * one) / other).toFixed(0)} %`;
      process.stdout.write(`of the same work: put ${part(base.up, ours.up)}, had ${part(base.down, ours.down)}\n`);
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const [mebibytes = '1024', count = '10000'] = process.argv.slice(2);
await main(Number(mebibytes), Number(count));
process.exit();
