import { randomBytes, randomUUID } from 'node:crypto';
import { contentClient, digestOf, upload } from '../test/support/content.js';
import { finishWith } from '../test/support/outputs.js';
import { clientsOf } from '../test/support/server.js';
import type { Measured } from './http2-load.js';
import { percentile } from './percentile.js';
import { type Body, createJobPath, makeScene, measure, numbered } from './scene.js';
import { seedJobs, seedParameters } from './seed.js';
import { table } from './table.js';

// What does it cost hits that outputs are looked at, and that bytes are moved beside them? Of one server, in short turns one after the other, since the
// machine is not as fast at all times: jobs whose output it keeps beside those whose outputs are kept elsewhere, of which nothing is looked at; and
// the former beside four transfers that go as fast as they can.
//
//     node build/bench/content-hits.js [seconds of a turn, 2 unless given] [turns, 9 unless given] [mebibytes of a transfer, 256 unless given]

/** Jobs of either kind. */
const jobs = 300;
const concurrency = 64;
const transfers = 4;

type Turn = { readonly rate: number; readonly p99: number };

async function main(seconds: number, turns: number, mebibytes: number): Promise<void> {
  const scene = makeScene();
  const server = await scene.serve('data', (store, seed) => seedJobs(store, seed, 0, jobs), {
    content: { scrub_rate: 0 },
  });
  const address = `127.0.0.1:${server.port}`;
  const client = clientsOf(address, 'bench');
  try {
    // Behind the jobs of the log, whose outputs are elsewhere, as many whose outputs are here: two directories and three files each.
    const left = Array.from({ length: jobs }, (_, i) => jobs + i).values();
    const lane = async () => {
      for (const n of left) {
        const { repository, script } = scene.seed;
        const scriptParameters = seedParameters(n);
        const { job } = await client.jobs.createJob({ repository, script, scriptVersion: 'main', scriptParameters });
        const files = { 'a/one': `one of ${n}`, 'a/two': `two of ${n}`, three: `three of ${n}` };
        await finishWith(client, address, job?.uuid ?? '', files);
      }
    };
    await Promise.all(Array.from({ length: 16 }, lane));
    const body = numbered(scene.seed, scene.seed.commit);
    const elsewhere: Body = (n) => body(n % jobs);
    const here: Body = (n) => body(jobs + (n % jobs));
    const load = { port: server.port, path: createJobPath, concurrency, seconds };
    const turnOf = async (of: Body): Promise<Turn> => {
      const { rate, histogram }: Measured = await measure({ ...load, body: of });
      return { rate, p99: histogram.getValueAtPercentile(99) / 1_000 };
    };
    const [plain, looked, alone, beside]: [Turn[], Turn[], Turn[], Turn[]] = [[], [], [], []];
    await turnOf(elsewhere);
    for (let turn = 0; turn < turns; turn++) {
      // Who is first changes, so that neither has the better of it.
      const two = [[plain, elsewhere] as const, [looked, here] as const];
      for (const [all, of] of turn % 2 === 0 ? two : two.reverse()) all.push(await turnOf(of));
    }
    const moved: number[] = [];
    for (let turn = 0; turn < Math.ceil(turns / 2); turn++) {
      alone.push(await turnOf(here));
      const moving = await startTransfers(address, mebibytes);
      beside.push(await turnOf(here));
      moved.push(await moving.stop());
    }

    const mid = (all: readonly number[]) => percentile(all, 0.5);
    const rate = (all: readonly Turn[]) => Math.round(mid(all.map((one) => one.rate))).toLocaleString('en');
    const p99 = (all: readonly Turn[]) => mid(all.map((one) => one.p99)).toFixed(1);
    const of = (all: readonly Turn[], to: readonly Turn[], key: keyof Turn) =>
      mid(all.map((one, i) => one[key] / (to[i]?.[key] ?? Number.NaN)));
    const rows = [
      ['outputs kept elsewhere', rate(plain), p99(plain), '', ''],
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
  } finally {
    client.close();
    await server.stop();
    scene.dispose();
  }
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

const [seconds = '2', turns = '9', mebibytes = '256'] = process.argv.slice(2);
await main(Number(seconds), Number(turns), Number(mebibytes));
process.exit();
