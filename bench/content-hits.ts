import { randomBytes, randomUUID } from 'node:crypto';
import { contentClient, digestOf, sha256, upload } from '../test/support/content.js';
import { type Files, finishWith, treeOf } from '../test/support/outputs.js';
import { plenty } from '../test/support/runs.js';
import { type Clients, clientsOf } from '../test/support/server.js';
import type { Measured } from './http2-load.js';
import { percentile } from './percentile.js';
import { countEvents, createJobPath, makeScene, measure, numbered, type Scene } from './scene.js';
import { seedParameters } from './seed.js';
import { table } from './table.js';

// What does it cost hits that outputs are looked at, and that bytes are moved beside them? Of two servers with equal jobs, called in short turns one after the
// other, since the machine is not as fast at all times: one that keeps what the jobs left, and one whose jobs left it elsewhere, so that it looks at nothing;
// and the former beside four transfers that go as fast as they can.
//
//     node build/bench/content-hits.js [seconds of a turn, 1 unless given] [turns, 20 unless given] [mebibytes of a transfer, 256 unless given]

/** Jobs of each. */
const jobs = 300;
const concurrency = 64;
const transfers = 4;

type Finish = (client: Clients, address: string, uuid: string, files: Files) => Promise<unknown>;

type Turn = { readonly rate: number; readonly p99: number };

async function main(seconds: number, turns: number, mebibytes: number): Promise<void> {
  const scene = makeScene();
  const serve = (name: string) => scene.serve(name, async () => undefined, { content: { scrub_rate: 0 } });
  const servers = [await serve('keeps'), await serve('looks-at-nothing')] as const;
  const [keeps, bare] = servers;
  const address = `127.0.0.1:${keeps.port}`;
  try {
    await makeJobs(scene, address, finishWith);
    await makeJobs(scene, `127.0.0.1:${bare.port}`, async (client, _, uuid, files) => {
      const claimToken = randomBytes(32);
      await client.worker.claimJob({ uuid, claimToken, offer: plenty });
      const [output, log] = [`sha256:${treeOf(files).root.hash}`, `sha256:${sha256(Buffer.from(`log of ${uuid}`))}`];
      await client.worker.completeJob({ uuid, claimToken, output, log });
    });
    const body = numbered(scene.seed, scene.seed.commit);
    const turnOf = async ({ port }: typeof keeps): Promise<Turn> => {
      const load = { port, path: createJobPath, concurrency, seconds, body: (n: number) => body(n % jobs) };
      const { rate, histogram }: Measured = await measure(load);
      return { rate, p99: histogram.getValueAtPercentile(99) / 1_000 };
    };
    const [plain, looked, alone, beside]: [Turn[], Turn[], Turn[], Turn[]] = [[], [], [], []];
    for (const server of servers) await turnOf(server);
    for (let turn = 0; turn < turns; turn++) {
      // Who is first changes, so that neither has the better of it.
      const two = [[plain, bare] as const, [looked, keeps] as const];
      for (const [all, of] of turn % 2 === 0 ? two : two.reverse()) all.push(await turnOf(of));
    }
    const moved: number[] = [];
    for (let turn = 0; turn < Math.ceil(turns / 4); turn++) {
      alone.push(await turnOf(keeps));
      const moving = await startTransfers(address, mebibytes);
      beside.push(await turnOf(keeps));
      moved.push(await moving.stop());
    }

    const mid = (all: readonly number[]) => percentile(all, 0.5);
    const rate = (all: readonly Turn[]) => Math.round(mid(all.map((one) => one.rate))).toLocaleString('en');
    const p99 = (all: readonly Turn[]) => mid(all.map((one) => one.p99)).toFixed(1);
    const of = (all: readonly Turn[], to: readonly Turn[], key: keyof Turn) =>
      mid(all.map((one, i) => one[key] / (to[i]?.[key] ?? Number.NaN)));
    const rows = [
      ['nothing is looked at', rate(plain), p99(plain), '', ''],
      [
        'outputs looked at',
        rate(looked),
        p99(looked),
        `${(100 * of(looked, plain, 'rate')).toFixed(1)} %`,
        of(looked, plain, 'p99').toFixed(2),
      ],
      [
        `beside ${transfers} transfers, ${Math.round(mid(moved))} MB/s`,
        rate(beside),
        p99(beside),
        `${(100 * of(beside, alone, 'rate')).toFixed(1)} %`,
        of(beside, alone, 'p99').toFixed(2),
      ],
    ];
    const head = [
      `hits, ${concurrency} at a time, ${turns} turns`,
      'calls/s',
      'p99 ms',
      'rate of those before',
      'p99 times',
    ];
    process.stdout.write(`${table(head, rows)}\n`);
    process.stdout.write(
      'the last row is of what it would be without the transfers, in the turns just before; ratios are medians of the turns\n',
    );
    for (const { log, stop } of servers) {
      await stop();
      const made = (await countEvents(log)).get('JobRequested');
      if (made !== jobs) throw new Error(`of ${jobs} jobs ${made} were made: what was measured is no hits`);
    }
  } finally {
    for (const server of servers) await server.stop();
    scene.dispose();
  }
}

/** Has all jobs made and finished in some way, each with two directories and three files. */
async function makeJobs({ seed }: Scene, address: string, finish: Finish): Promise<void> {
  const client = clientsOf(address, 'bench');
  const left = Array.from({ length: jobs }, (_, n) => n).values();
  const lane = async () => {
    for (const n of left) {
      const { repository, script } = seed;
      const scriptParameters = seedParameters(n);
      const { job } = await client.jobs.createJob({ repository, script, scriptVersion: 'main', scriptParameters });
      const files = { 'a/one': `one of ${n}`, 'a/two': `two of ${n}`, three: `three of ${n}` };
      await finish(client, address, job?.uuid ?? '', files);
    }
  };
  await Promise.all(Array.from({ length: 16 }, lane));
  client.close();
}

/** Puts and reads blobs as fast as it goes, half of the transfers each, until it is stopped. */
async function startTransfers(address: string, mebibytes: number) {
  const data = randomBytes(1024 * 1024);
  const ended = new AbortController();
  const { signal } = ended;
  let bytes = 0;
  const size = mebibytes * data.length;
  const clients = Array.from({ length: transfers }, () => contentClient(address, 'bench'));
  /** A blob of that size that never comes to its end, so that none has to be hashed here. */
  async function put({ bytes: stream }: (typeof clients)[number]): Promise<void> {
    while (!signal.aborted) {
      const name = `uploads/${randomUUID()}/blobs/${randomBytes(32).toString('hex')}/${size}`;
      function* messages() {
        for (let at = 0; at < size && !signal.aborted; at += data.length) {
          bytes += data.length;
          yield { resourceName: at === 0 ? name : '', writeOffset: BigInt(at), data };
        }
      }
      await stream.write(messages(), { signal });
    }
  }
  // Those that are read are there before it begins.
  const some = Array.from({ length: 16 }, () => randomBytes(data.length));
  const names = some.map(digestOf);
  for (const blob of some) {
    const message = { resourceName: upload(blob), writeOffset: 0n, data: blob, finishWrite: true };
    await clients[0]?.bytes.write([message]);
  }
  async function read({ bytes: stream }: (typeof clients)[number]): Promise<void> {
    while (!signal.aborted) {
      for (const { hash, sizeBytes } of names) {
        for await (const { data: piece } of stream.read({ resourceName: `blobs/${hash}/${sizeBytes}` }, { signal }))
          bytes += piece.length;
      }
    }
  }
  const started = performance.now();
  const work = clients.map((one, i) =>
    (i % 2 === 0 ? put(one) : read(one)).catch((error) => {
      if (!signal.aborted) throw error;
    }),
  );
  const all = Promise.all(work);
  all.catch(() => undefined);
  return {
    /** Ends them. @returns megabytes a second */
    async stop(): Promise<number> {
      const rate = bytes / 1e6 / ((performance.now() - started) / 1_000);
      ended.abort();
      await all;
      for (const one of clients) one.close();
      return rate;
    },
  };
}

const [seconds = '1', turns = '20', mebibytes = '256'] = process.argv.slice(2);
await main(Number(seconds), Number(turns), Number(mebibytes));
process.exit();
