import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync, readdirSync, rmSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import test from 'ava';
import { ContentLossReason, type ContentLost } from '../../gen/memoir/events/v1/events_pb.js';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { systemEdge } from '../../src/edge.js';
import { decodeEvent } from '../../src/eventstore/codec.js';
import type { RecordedEvent } from '../../src/eventstore/port.js';
import { openSqliteLog } from '../../src/eventstore/sqlite/store.js';
import { uploadBlobs } from '../../src/worker/upload/upload-blobs.js';
import { collect } from '../contract/events.js';
import { freePort } from '../support/casd.js';
import { contentClient, download, sha256, upload, writes } from '../support/content.js';
import { blobsOf, type Files, finishWith, treeOf } from '../support/outputs.js';
import { makeProject } from '../support/project.js';
import { roundsUntil } from '../support/rounds.js';
import { find, uuidOf } from '../support/runs.js';
import { clientsOf, startTestServer, testConfig } from '../support/server.js';
import { startServerProcess } from '../support/server-process.js';
import { until } from '../support/until.js';
import { remoteContent } from '../support/worker.js';

const hour = 3_600_000;
const day = 24 * hour;

/** Outputs share files and directories. */
const filesOf = (n: number): Files => ({
  [`d/${n % 3}`]: `file ${n % 3}`,
  [`own/${n}`]: `file of ${n} alone`,
  g: `file ${n % 5}`,
});

/** When a server is killed: once it has recorded this, or removed a blob, or after so many milliseconds. */
const moments = ['ContentLost', 'a blob is gone', 'ContentStored', 'JobCompleted', 5, 40] as const;

/** What calls of a server that is killed fail with, and who asked for the same as another at the same moment. */
const expected =
  /UNAVAILABLE|ECONN|[Cc]onnection|CANCELLED|is Running|is Complete|not all of it is here|another attempt|claimed/;

test('killed in the midst of a sweep, an upload or a completion, a server loses nothing that it did not record, and no hit', async (t) => {
  t.timeout(1_800_000);
  const project = makeProject();
  const settings = { content: { keep: '2d', scrub_rate: 0 } };
  const config = testConfig({ repositories: { project: project.repository.path }, settings });
  t.teardown(project.repository.dispose);
  let seed = Number(process.env.MEMOIR_SEED ?? 1) >>> 0;
  t.log(`MEMOIR_SEED=${seed}`);
  const random = (below: number) => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
  const blobs = join(config.data_dir, 'content', 'blobs');
  const pathOf = (data: Uint8Array | string) => {
    const hash = sha256(Buffer.from(data));
    return join(blobs, hash.slice(0, 2), hash);
  };
  const missing = (files: Files) => blobsOf(files).filter((data) => !existsSync(pathOf(data)));

  /** How far the servers' clock is ahead; what lies on the disk is as much older. */
  let ahead = 0;
  function pass(ms: number): void {
    ahead += ms;
    for (const folder of existsSync(blobs) ? readdirSync(blobs) : []) {
      for (const name of readdirSync(join(blobs, folder))) {
        const path = join(blobs, folder, name);
        const at = (statSync(path).mtimeMs - ms) / 1_000;
        utimesSync(path, at, at);
      }
    }
  }

  async function recorded(): Promise<RecordedEvent[]> {
    const log = openSqliteLog(join(config.data_dir, 'events.sqlite'));
    try {
      return await collect(log.readAll());
    } finally {
      await log.close();
    }
  }

  /** Types of the events of each stream. */
  async function typesByStream(): Promise<ReadonlyMap<string, readonly string[]>> {
    const types = new Map<string, string[]>();
    for (const { stream, type } of await recorded()) types.set(stream, [...(types.get(stream) ?? []), type]);
    return types;
  }

  async function reached(moment: (typeof moments)[number], over: () => boolean): Promise<void> {
    if (typeof moment === 'number') return void (await delay(moment));
    if (moment === 'a blob is gone') {
      const there = [...made.values()]
        .flatMap(({ files }) => blobsOf(files))
        .map(pathOf)
        .filter(existsSync);
      while (!over() && there.every((path) => existsSync(path))) await delay(1);
      return;
    }
    const log = openSqliteLog(join(config.data_dir, 'events.sqlite'));
    try {
      let after = await log.end();
      while (!over()) {
        for await (const { type, position } of log.readAll(after)) {
          after = position;
          if (type === moment) return;
        }
        await delay(1);
      }
    } finally {
      await log.close();
    }
  }

  /** What was asked to be made, and by which claim. */
  const made = new Map<string, { readonly files: Files; readonly token: Uint8Array; complete: boolean }>();
  const hits = new Map<string, { readonly files: Files; readonly until: number }>();
  const uploaded: Uint8Array[] = [];
  let [found, completed, killed] = [0, 0, 0];

  async function ask(client: ReturnType<typeof clientsOf>, address: string, n: number): Promise<void> {
    const outputTtl = durationFromMs(random(3) * 12 * hour);
    const answer = await find(client, { scriptParameters: { n }, outputTtl });
    const uuid = uuidOf(answer);
    const one = made.get(uuid) ?? { files: filesOf(n), token: randomBytes(32), complete: false };
    made.set(uuid, one);
    if (answer.job?.state === JobState.COMPLETE) {
      found++;
      hits.set(uuid, { files: one.files, until: ahead + day });
      return;
    }
    await finishWith(client, address, uuid, one.files, one.token);
    one.complete = true;
    completed++;
    t.deepEqual(missing(one.files).map(String), [], `a completion of ${uuid} has holes`);
  }

  async function check(round: number | string): Promise<void> {
    for (const [uuid, { files, until }] of hits) {
      if (until < ahead) hits.delete(uuid);
      else t.deepEqual(missing(files).map(String), [], `round ${round}: a hit of ${uuid} is gone`);
    }
    const typesOf = await typesByStream();
    for (const [uuid, { files, complete }] of made) {
      const types = typesOf.get(`job-${uuid}`) ?? [];
      if (complete)
        t.true(types.includes('JobCompleted'), `round ${round}: the completion of ${uuid} was told and is not there`);
      if (!types.includes('JobCompleted') || missing(files).length === 0) continue;
      const last = typesOf.get(`content-${treeOf(files).root.hash}`)?.at(-1);
      t.is(last, 'ContentLost', `round ${round}: ${missing(files)} of ${uuid} are gone and it is not recorded`);
    }
    for (const data of uploaded) t.true(existsSync(pathOf(data)), `round ${round}: an upload is gone`);
  }

  const alive = await startTestServer({
    repositories: { project: project.repository.path },
    edge: { ...systemEdge, now: () => systemEdge.now() + ahead },
    settings: { ...settings, data_dir: config.data_dir },
  });
  t.teardown(alive.dispose);
  for (let n = 0; n < 12; n++) await ask(alive.as('ada'), alive.address(), n);
  await alive.stop();
  pass(60 * hour);

  for (const round of roundsUntil(() => killed > 0, 2, 120)) {
    if (round > 0) pass([60 * hour, 13 * hour, hour][random(3)] as number);
    const server = await startServerProcess(config, ahead);
    const client = clientsOf(server.address, 'ada');
    const content = contentClient(server.address, 'ada');
    const data = randomBytes(3_000_000);
    let over = false;
    const ends = Promise.allSettled([
      client.retention.sweepContent({}),
      ...Array.from({ length: 8 }, () => ask(client, server.address, random(12))),
      content.bytes.write(writes(upload(data, randomUUID()), data, { size: 64 * 1024 })).then(() => {
        uploaded.push(data);
      }),
    ]).then((all) => {
      over = true;
      return all;
    });
    await reached(moments[round % moments.length] as (typeof moments)[number], () => over);
    if (!over) killed++;
    await server.kill();
    for (const end of await ends) {
      if (end.status === 'fulfilled') continue;
      // Nobody answers any more; or another asked for the same at the same moment.
      t.regex(String(end.reason), expected);
    }
    client.close();
    content.close();
    await check(round);
    uploaded.length = 0;
  }

  // What those that were killed did not come to the end of is gone on with.
  await alive.restart();
  const client = alive.as('ada');
  await client.retention.sweepContent({});
  await check('after all');
  t.like(await client.retention.sweepContent({}), { evictedCount: 0n, blobs: 0n });
  for (let n = 0; n < 12; n++) await ask(client, alive.address(), n);
  await check('at the end');
  // What happened, whoever was answered.
  const losses = (await recorded()).filter(({ type }) => type === 'ContentLost').map((event) => decodeEvent(event));
  const evicted = losses.filter((lost) => (lost as ContentLost).reason === ContentLossReason.EVICTED).length;
  t.log({ found, completed, evicted, killed });
  t.true(completed > 0 && evicted > 0 && killed > 0);
});

test('an upload that a killed server had taken a part of is gone on with where that ends, by the server that comes after it', async (t) => {
  const port = await freePort();
  const config = { ...testConfig({ settings: { content: { scrub_rate: 0 } } }), listen: `127.0.0.1:${port}` };
  t.teardown(() => rmSync(config.data_dir, { recursive: true, force: true }));
  let server = await startServerProcess(config);
  t.teardown(() => server.kill());
  const [worker, other] = [remoteContent(server.address, 'w'), contentClient(server.address, 'w')];
  t.teardown(() => {
    worker.close();
    other.close();
  });
  const data = randomBytes(6_000_000);
  const half = 3_000_000;
  const uuid = randomUUID();
  const resourceName = upload(data, uuid);
  const committed = async () => Number((await other.bytes.queryWriteStatus({ resourceName })).committedSize);
  let [killed, goneOnFrom, sent] = [false, 0, 0];
  /** Reads it, and in the middle waits until the server that took what was read is killed and another is there. */
  const from = async () => ({
    async read(into: Uint8Array, at: number, length: number, position: number) {
      if (position >= half && !killed) {
        killed = true;
        await until('the server takes a part', async () => (await committed()) > 0);
        await server.kill();
        server = await startServerProcess(config);
      }
      const piece = data.subarray(position, position + length);
      into.set(piece, at);
      sent += piece.length;
      return { bytesRead: piece.length };
    },
    close: async () => undefined,
  });
  const logger = {
    info: () => undefined,
    warn(said: { readonly from?: number }) {
      goneOnFrom = said.from ?? goneOnFrom;
    },
  } as unknown as typeof worker.logger;
  const remote = { ...worker, logger, edge: { ...systemEdge, uuid: () => uuid } };
  const blob = { hash: sha256(data), size: data.length, from };
  await uploadBlobs(remote, [blob], {}, new AbortController().signal);
  t.true(killed && goneOnFrom > 0 && goneOnFrom <= half + 1_000_000, `it went on from ${goneOnFrom}`);
  t.true(sent < 2 * data.length - goneOnFrom + 1_000_000, `${sent} bytes were read of ${data.length}`);
  const pieces: Uint8Array[] = [];
  for await (const piece of other.bytes.read({ resourceName: download(data) })) pieces.push(piece.data);
  t.true(Buffer.concat(pieces).equals(data));
});
