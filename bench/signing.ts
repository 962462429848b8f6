import { generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { SigningKeysChangedSchema } from '../gen/memoir/events/v1/events_pb.js';
import { openReadModel } from '../projections/read-model/read-model.js';
import { bytesOfKey, verifierKey } from '../src/domain/log-tree/verifier-key.js';
import { signingStream } from '../src/domain/streams.js';
import { systemEdge } from '../src/edge.js';
import { encodeEvent } from '../src/eventstore/codec.js';
import { openStore, sqliteUrl } from '../src/eventstore/open-store.js';
import type { Signing } from '../src/eventstore/signing/signed-log.js';
import { signingState } from '../src/eventstore/signing/signing-state.js';
import { percentile } from './percentile.js';
import { table } from './table.js';

// What does the signing of events cost a commit, and their verification a replay? The yardstick is the same without it, in the same run.
//
//     node build/bench/signing.js [appends at a time, in all; 20000 unless given]

const appends = Number(process.argv[2] ?? 20_000);
const alone = Math.min(1_000, appends);
const metadata = '{"principal":"bench","requestId":"0f3b6d7e-6f4a-4a57-9d35-0f5f0a5d2f10","serverVersion":"0.1.0"}';

type Run = { readonly p50: number; readonly p99: number; readonly rate: number; readonly replay: number };

async function run(signing: Signing | undefined): Promise<Run> {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-bench-signing-'));
  const url = sqliteUrl(join(directory, 'events.sqlite'));
  const store = await openStore(url, systemEdge, undefined, { signing });
  const trust = signing && { trusted: [signing.signer().key], retired: [] };
  if (trust) {
    const event = encodeEvent(randomUUID(), create(SigningKeysChangedSchema, { keys: trust.trusted }), metadata);
    await store.append(signingStream, 'no_stream', [event]);
  }
  async function progress(stream: string, count: number): Promise<number[]> {
    const times: number[] = [];
    for (let n = 0; n < count; n++) {
      const data = JSON.stringify({ progress: n / count, progressMessage: 'x'.repeat(800) });
      const began = performance.now();
      await store.append(stream, n === 0 ? 'no_stream' : n - 1, [
        { id: randomUUID(), type: 'JobProgressed', data, metadata },
      ]);
      times.push(performance.now() - began);
    }
    return times;
  }
  const times = await progress(`job-${randomUUID()}`, alone);
  let began = performance.now();
  await Promise.all(Array.from({ length: 64 }, () => progress(`job-${randomUUID()}`, Math.ceil(appends / 64))));
  const rate = appends / ((performance.now() - began) / 1_000);
  began = performance.now();
  const readModel = await openReadModel(url, join(directory, 'read-model.sqlite'), trust);
  await readModel.caughtUp();
  const replay = (appends + alone) / ((performance.now() - began) / 1_000);
  await readModel.close();
  await store.close();
  rmSync(directory, { recursive: true });
  return { p50: percentile(times, 0.5), p99: percentile(times, 0.99), rate, replay };
}

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const key = verifierKey('memoir/bench', bytesOfKey(publicKey)).text;
const signing = (): Signing => ({
  state: signingState(() => ({ trusted: [key], retired: [] })),
  signer: () => ({ key, sign: (statement) => sign(null, statement, privateKey) }),
});

await run(undefined);
const [without, with_] = [await run(undefined), await run(signing())];
const whole = (rate: number) => Math.round(rate).toLocaleString('en');
const row = (name: string, { p50, p99, rate, replay }: Run) => [
  name,
  p50.toFixed(2),
  p99.toFixed(2),
  whole(rate),
  whole(replay),
];
process.stdout.write(
  `${table(
    ['', 'p50 ms alone', 'p99 ms alone', 'appends/s, 64 at a time', 'events/s replayed'],
    [row('not signed', without), row('signed and verified', with_)],
  )}\n`,
);
