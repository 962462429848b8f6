import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync, readdirSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { status } from '@grpc/grpc-js';
import test from 'ava';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import type { ServerConfig } from '../../src/config.js';
import { systemEdge } from '../../src/edge.js';
import { openSqliteLog } from '../../src/eventstore/sqlite/store.js';
import { claimHeader, claimText } from '../../src/rpc/claim-header.js';
import { collect } from '../contract/events.js';
import { runMemoir } from '../support/command.js';
import { contentClient, digestOf, sha256, upload as uploadOf, writes } from '../support/content.js';
import { makeRepository } from '../support/git-repository.js';
import { blobsOf, type Files, finishWith, treeOf, upload } from '../support/outputs.js';
import { failure, refused } from '../support/refused.js';
import { rounds } from '../support/rounds.js';
import { find, plenty, request, uuidOf } from '../support/runs.js';
import { startTestServer, type TestServer } from '../support/server.js';
import { smallDisk } from '../support/small-disk.js';
import { until } from '../support/until.js';

const hour = 3_600_000;
const day = 24 * hour;

const repository = makeRepository();
repository.commit({ 'run.sh': '#!/bin/sh\n' });
const repositories = { project: repository.path };

/** How much time passed for the servers that did not pass, and how far their clock is ahead of that. */
let ahead = 0;
let jumped = 0;
const edge = {
  ...systemEdge,
  now: () => systemEdge.now() + ahead + jumped,
  monotonic: () => systemEdge.monotonic() + ahead,
};

async function startKeeping(content: Record<string, unknown>, more: Partial<ServerConfig> = {}): Promise<TestServer> {
  const settings = { content: { scrub_rate: 0, ...content }, ...more };
  return startTestServer({ repositories, edge, settings });
}
const server = await startKeeping({ keep: '10d' });
test.after.always(async () => {
  await server.dispose();
  repository.dispose();
});
const ada = server.as('ada');

/** Lets time pass: for the servers, and for what lies on the disk. */
function pass(ms: number, of: TestServer = server): void {
  ahead += ms;
  const blobs = join(of.config.data_dir, 'content', 'blobs');
  for (const folder of readdirSync(blobs)) {
    for (const name of readdirSync(join(blobs, folder))) {
      const path = join(blobs, folder, name);
      const at = (statSync(path).mtimeMs - ms) / 1_000;
      utimesSync(path, at, at);
    }
  }
}

const pathOf = (data: string | Uint8Array, of: TestServer = server) => {
  const hash = sha256(Buffer.from(data));
  return join(of.config.data_dir, 'content', 'blobs', hash.slice(0, 2), hash);
};
const isThere = (data: string | Uint8Array, of: TestServer = server) => existsSync(pathOf(data, of));

/** Has a job claimed and completed with these files. */
const finish = (uuid: string, files: Files, of: TestServer = server): Promise<string> =>
  finishWith(of.as('ada'), of.address(), uuid, files);

const work = (name: string, more: Parameters<typeof request>[1] = {}) => ({ scriptParameters: { name }, ...more });
const sweep = async (of: TestServer = server) => of.as('ada').retention.sweepContent({});

async function eventsOf(stream: string, of: TestServer = server) {
  const log = openSqliteLog(join(of.config.data_dir, 'events.sqlite'));
  const events: { readonly type: string; readonly data: Readonly<Record<string, unknown>> }[] = [];
  for await (const { type, data } of log.readStream(stream)) events.push({ type, data: JSON.parse(data) });
  await log.close();
  return events;
}
const streamOf = (address: string) => `content-${address.slice('sha256:'.length)}`;

test.serial(
  'what nobody asked for in a time goes: first that it is lost is recorded, then its blobs are removed',
  async (t) => {
    const [old, young, shared] = [{ f: 'old', s: 'shared' }, { f: 'young', s: 'shared' }, Buffer.from('shared')];
    const first = uuidOf(await request(ada, work('old')));
    const address = await finish(first, old);
    pass(9 * day);
    const second = uuidOf(await request(ada, work('young')));
    await finish(second, young);
    t.like(await sweep(), { evictedCount: 0n, blobs: 0n });
    jumped = 365 * day;
    t.like(await sweep(), { evictedCount: 0n, blobs: 0n }, 'a clock that was set ahead makes nothing old');
    jumped = 0;
    pass(2 * day);
    const dry = await ada.retention.sweepContent({ dryRun: true });
    t.is(dry.evictedCount, 2n, 'the output and the log');
    t.true(dry.evicted.includes(address));
    t.true(isThere('old'));
    const swept = await sweep();
    t.deepEqual([swept.evictedCount, swept.blobs, swept.bytes], [dry.evictedCount, dry.blobs, dry.bytes]);
    t.is(swept.blobs, 3n, 'the directory, a file, and the log');
    for (const data of [Buffer.from('old'), ...treeOf(old).directories.values()]) t.false(isThere(data));
    for (const data of [...blobsOf(young), shared]) t.true(isThere(data));
    const [, lost] = await eventsOf(streamOf(address));
    t.like(lost, { type: 'ContentLost', data: { reason: 'CONTENT_LOSS_REASON_EVICTED' } });
    const again = await find(ada, work('old'));
    t.false(again.reused);
    t.regex(again.decision?.candidates[0]?.detail ?? '', /was evicted$/);
    t.is(uuidOf(await find(ada, work('young'))), second);
  },
);

test.serial('who asks for a job keeps it, the longest time counts, and a hit holds it for a day', async (t) => {
  const made = async (name: string, ttl?: number) => {
    const outputTtl = ttl === undefined ? {} : { outputTtl: durationFromMs(ttl) };
    const uuid = uuidOf(await request(ada, work(name, outputTtl)));
    if (name === 'joined') await find(server.as('bob'), work(name, { outputTtl: durationFromMs(30 * day) }));
    await finish(uuid, { f: name });
    return uuid;
  };
  const names = ['short', 'long', 'joined', 'answered', 'pinned', 'held'];
  const uuids = Object.fromEntries(
    await Promise.all(
      [
        made('short', hour),
        made('long', 100 * day),
        made('joined', hour),
        made('answered', hour),
        made('pinned', hour),
        made('held', hour),
      ].map(async (uuid, i) => [names[i], await uuid]),
    ),
  );
  const there = () => names.filter((name) => isThere(name));
  const pinned = await ada.retention.pinJob({ uuid: uuids.pinned });
  t.deepEqual(await ada.retention.pinJob({ uuid: uuids.pinned }), {
    ...pinned,
    consistencyToken: pinned.consistencyToken,
  });
  pass(30 * 60_000);
  t.true((await find(ada, work('answered', { outputTtl: durationFromMs(5 * day) }))).reused);
  pass(20 * hour);
  t.true((await find(ada, work('held', { outputTtl: durationFromMs(0) }))).reused);
  pass(3 * hour);
  t.is((await sweep()).evictedCount, 0n, 'what is new stays for a day');
  t.deepEqual(there(), names);
  pass(2 * hour);
  await sweep();
  t.deepEqual(
    there(),
    names.filter((name) => name !== 'short'),
  );
  pass(21 * hour);
  await sweep();
  t.deepEqual(there(), ['long', 'joined', 'answered', 'pinned']);
  pass(5 * day);
  await sweep();
  t.deepEqual(there(), ['long', 'joined', 'pinned']);
  pass(26 * day);
  await ada.retention.unpinJob({ uuid: uuids.pinned });
  await sweep();
  t.deepEqual(there(), ['long']);
  const far = () => request(ada, work('far', { outputTtl: durationFromMs(40_000 * day) }));
  await refused(t, server, far, {
    code: 'INVALID_ARGUMENT',
    reason: 'OUT_OF_RANGE',
    field: 'output_ttl',
    naming: '3456000000 s',
  });
});

test.serial(
  'what jobs that are kept take stays, and what was put aside or never referenced goes after a day',
  async (t) => {
    const input = uuidOf(await request(ada, work('input', { outputTtl: durationFromMs(0) })));
    const address = await finish(input, { f: 'an input' });
    const taker = uuidOf(await request(ada, { scriptParameters: { deep: [{ reads: `${address}/f` }] } }));
    await upload(server.address(), [Buffer.from('never referenced')]);
    pass(23 * hour);
    await sweep();
    t.true(isThere('never referenced'));
    pass(3 * hour);
    await sweep();
    t.false(isThere('never referenced'));
    t.true(isThere('an input'), 'an unfinished job takes it');
    await ada.jobs.cancelJob({ uuid: taker });
    pass(11 * day);
    await sweep();
    t.false(isThere('an input'));
  },
);

test.serial('a quota takes what was asked for longest ago, of all and of one principal', async (t) => {
  const small = await startKeeping({ quota: 2_000, quota_by_principal: 1_800 });
  t.teardown(small.dispose);
  const content = (name: string) => `${name}${'.'.repeat(500 - name.length)}`;
  const names = ['a', 'b', 'c', 'd', 'e'];
  for (const name of names) {
    await finish(uuidOf(await request(small.as(name < 'c' ? 'ada' : 'bob'), work(name))), { f: content(name) }, small);
    pass(hour, small);
  }
  t.true((await find(small.as('ada'), work('a'))).reused);
  pass(50 * hour, small);
  await sweep(small);
  // Three of bob's are too many for one, and there is no room for what was asked for longest ago.
  const left = names.filter((name) => isThere(content(name), small));
  t.deepEqual(left, ['a', 'd', 'e']);
  const usage = await small.as('ada').retention.getUsage({});
  t.true(usage.bytes <= 2_200n, `${usage.bytes} bytes`);
});

test.serial('what must not exist is lost wherever it is, and is not taken again', async (t) => {
  const [one, other] = [uuidOf(await request(ada, work('erased 1'))), uuidOf(await request(ada, work('erased 2')))];
  const output = await finish(one, { 'a/secret': 'a name', f: '1' });
  await finish(other, { f: '2' });
  const address = `sha256:${sha256(Buffer.from('a name'))}`;
  const cli = (...args: string[]) =>
    runMemoir(args, { env: { MEMOIR_SERVER: server.address(), MEMOIR_PRINCIPAL: 'ada' } });
  const erased = await cli('content', 'erase', address, '--reason', 'it names a patient');
  t.is(erased.code, 0, erased.err);
  t.true(erased.out.includes(`lost ${output}`), erased.out);
  t.false(isThere('a name'));
  t.like((await eventsOf(streamOf(address)))[0], {
    type: 'ContentLost',
    data: { reason: 'CONTENT_LOSS_REASON_ERASED', message: 'it names a patient' },
  });
  await t.throwsAsync(upload(server.address(), [Buffer.from('a name')]), { message: /was erased/ });
  t.regex((await find(ada, work('erased 1'))).decision?.candidates[0]?.detail ?? '', /"a\/secret", .*, was erased$/);
  t.true((await find(ada, work('erased 2'))).reused);
  const none = () => ada.retention.eraseContent({ address: `sha256:${'0'.repeat(64)}`, reason: 'x' });
  await refused(t, server, none, { code: 'NOT_FOUND', reason: 'BLOB_NOT_FOUND', naming: '000000' });
  for (const args of [
    ['content', 'usage'],
    ['content', 'gc', '--dry-run'],
    ['pin', other],
    ['unpin', other],
  ]) {
    const { code, out, err } = await cli(...args);
    t.is(code, 0, `${args.join(' ')}: ${out}${err}`);
  }
  t.regex((await cli('content', 'usage')).out, /^PRINCIPAL +KEPT +BYTES\nada +\d+ +\d+ B$/m);
  const verified = await cli('content', 'verify');
  t.regex(verified.out, /\d+ looked at, \d+ lost \(0 of them now\), 0 found again/);
});

test.serial('a heartbeat holds anew what its attempt brought, was told to be there, and is given', async (t) => {
  const given = await finish(uuidOf(await request(ada, work('given'))), { f: 'given' });
  await upload(server.address(), [Buffer.from('was there')]);
  const uuid = uuidOf(await request(ada, { scriptParameters: { reads: given } }));
  const claimToken = randomBytes(32);
  await ada.worker.claimJob({ uuid, claimToken, offer: plenty });
  const claim = { metadata: { [claimHeader]: claimText(uuid, claimToken) } };
  await upload(server.address(), [Buffer.from('brought'), Buffer.from('was there')], claim);
  await upload(server.address(), [Buffer.from('of nobody')]);
  const root = [...treeOf({ f: 'given' }).directories.values()].at(-1) as Uint8Array;
  const age = (data: string | Uint8Array) => Date.now() - statSync(pathOf(data)).mtimeMs;
  pass(20 * 60_000);
  await ada.worker.heartbeat({ uuid, claimToken });
  const held = ['brought', 'was there', root];
  await until('all of it is held anew', () => held.every((data) => age(data) < 10 * 60_000));
  t.true(age('of nobody') > 10 * 60_000);
  // Not at every heartbeat.
  pass(4 * 60_000);
  await ada.worker.heartbeat({ uuid, claimToken });
  t.true(age('brought') > 3 * 60_000);
  await ada.worker.failJob({ uuid, claimToken, reason: 'X', message: '' });
});

test.serial(
  'a disk that gets full in the midst of an upload ends uploads alone: jobs and the log go on, and a sweep makes room',
  async (t) => {
    // 2 GiB stay free for the log.
    const disk = smallDisk(t, 2_048 + 40);
    if (disk === undefined) return;
    const own = await startKeeping({ keep: '10d' }, { data_dir: join(disk, 'data') });
    const content = contentClient(own.address(), 'ada');
    t.teardown(async () => {
      content.close();
      await own.dispose();
    });
    const client = own.as('ada');
    const old = randomBytes(12_000_000).toString('latin1');
    const first = uuidOf(await request(client, work('old')));
    await content.bytes.write(writes(uploadOf(Buffer.from(old)), Buffer.from(old)));
    await finish(first, { old }, own);
    const large = randomBytes(40_000_000);
    const uuid = randomUUID();
    const write = () => content.bytes.write(writes(uploadOf(large, uuid), large));
    const error = await failure(t, write);
    t.deepEqual([error.code, error.reason], [status.RESOURCE_EXHAUSTED, 'CONTENT_FULL']);
    const { committedSize, complete } = await content.bytes.queryWriteStatus({ resourceName: uploadOf(large, uuid) });
    t.true(committedSize > 0n && committedSize < 40_000_000n && !complete, 'it broke off in the midst');
    const { missingBlobDigests } = await content.cas.findMissingBlobs({ blobDigests: [digestOf(large)] });
    t.is(missingBlobDigests.length, 1);
    // What needs no room for content is as ever.
    const next = uuidOf(await request(client, work('next')));
    const claimToken = randomBytes(32);
    await client.worker.claimJob({ uuid: next, claimToken, offer: plenty });
    await client.worker.completeJob({ uuid: next, claimToken, output: 'sha256:elsewhere', log: 'sha256:elsewhere' });
    t.true((await find(client, work('next'))).reused);
    t.true((await find(client, work('old'))).reused);
    t.is((await client.jobs.getJob({ uuid: first })).job?.state, JobState.COMPLETE);
    // What nobody wants any more goes, and the rest of what broke off is taken.
    await client.jobs.deleteJob({ uuid: first });
    pass(2 * day, own);
    const { bytes } = await sweep(own);
    t.true(bytes >= 12_000_000n, String(bytes));
    const smaller = large.subarray(0, 15_000_000);
    await until('the disk is looked at again', () =>
      content.bytes.write(writes(uploadOf(smaller), smaller)).catch(({ reason }) => {
        t.is(reason, 'CONTENT_FULL');
        return undefined;
      }),
    );
    t.true(isThere(smaller, own));
    t.is((await client.jobs.getJob({ uuid: next })).job?.state, JobState.COMPLETE);
  },
);

test.serial('with a tree goes what is below it, but for what others need, which is named', async (t) => {
  const [one, other] = [uuidOf(await request(ada, work('tree 1'))), uuidOf(await request(ada, work('tree 2')))];
  const output = await finish(one, { 'a/b/own': 'of one alone', 'a/both': 'of both', f: 'beside it' });
  const needing = await finish(other, { x: 'of both' });
  const { digest } = (await collect(ada.content.listOutput({ uuid: one })))
    .flatMap(({ entries }) => entries)
    .find(({ path }) => path === 'a') as { digest?: { hash: string } };
  const address = `sha256:${digest?.hash}`;
  const erased = await ada.retention.eraseContent({ address, reason: 'it was not to be kept' });
  t.deepEqual(erased.lost, [output]);
  t.is(erased.blobs, 3n, 'the directory, that below it, and its file');
  const shared = `sha256:${sha256(Buffer.from('of both'))}`;
  t.is(erased.staysCount, 1n);
  t.like(erased.stays, [{ address: shared, path: 'both', neededBy: needing }]);
  t.false(isThere('of one alone'));
  t.true(isThere('of both'));
  t.true(isThere('beside it'), 'it goes with the next sweep, as nothing keeps it');
  const recorded = await eventsOf(streamOf(`sha256:${sha256(Buffer.from('of one alone'))}`));
  t.like(recorded[0], { data: { reason: 'CONTENT_LOSS_REASON_ERASED', message: 'it was not to be kept' } });
  await t.throwsAsync(upload(server.address(), [Buffer.from('of one alone')]), { message: /was erased/ });
  t.true((await find(ada, work('tree 2'))).reused);
  // Again, as after a kill half-way, changes nothing more.
  t.like(await ada.retention.eraseContent({ address, reason: 'once more' }), { blobs: 0n });
});

test.serial('who may read a job is told how long what it left stays, and when it was not there', async (t) => {
  const env = { MEMOIR_SERVER: server.address(), MEMOIR_PRINCIPAL: 'ada' };
  const asked = await request(ada, work('told', { outputTtl: durationFromMs(2 * day) }));
  const uuid = uuidOf(asked);
  const { consistencyToken } = asked;
  const queued = (await ada.jobs.getJob({ uuid, consistencyToken })).job?.keeping;
  t.like(queued, { outputTtl: { seconds: 172_800n }, keptUntil: undefined, pinnedAt: undefined, losses: [] });
  const output = await finish(uuid, { f: 'told' });
  const { pinnedAt, consistencyToken: pinned } = await ada.retention.pinJob({ uuid });
  t.deepEqual((await ada.jobs.getJob({ uuid, consistencyToken: pinned })).job?.keeping?.pinnedAt, pinnedAt);
  await ada.retention.unpinJob({ uuid });
  pass(3 * day);
  const streamed = await collect(ada.retention.streamSweepContent({}));
  t.true(streamed.flatMap(({ evicted }) => evicted).includes(output));
  t.like(streamed.at(-1), { done: true });
  t.is(streamed.filter(({ done }) => done).length, 1);
  const keeping = (await ada.jobs.getJob({ uuid })).job?.keeping;
  t.is(keeping?.pinnedAt, undefined);
  t.deepEqual(
    keeping?.losses
      .map(({ address, reason, path, found }) => ({ address, reason, path, found }))
      .sort((a) => (a.address === output ? -1 : 1)),
    [output, `sha256:${sha256(Buffer.from(`log of ${uuid}`))}`].map((address) => ({
      address,
      reason: 'EVICTED',
      path: '',
      found: false,
    })),
  );
  const { out } = await runMemoir(['get', uuid], { env });
  t.regex(out, /^output ttl +2 d$/m);
  t.regex(out, /^output lost +\d{4}-.* \(now|.* ago\): nothing kept it any more$/m);
  const looked = await collect(ada.retention.streamVerifyContent({}));
  const last = looked.at(-1);
  t.like(last, { done: true, found: 0n });
  t.is(last?.lookedAt, last?.total);
  t.is(looked.flatMap(({ lost }) => lost).filter(({ address }) => address === output).length, 1);
});

test.serial(
  'as much is found, uploaded, completed, swept and stopped at a time, no completion has holes and no hit is gone',
  async (t) => {
    const busy = await startKeeping({ keep: '2d' });
    t.teardown(busy.dispose);
    let seed = Number(process.env.MEMOIR_SEED ?? 1) >>> 0;
    t.log(`MEMOIR_SEED=${seed}`);
    const random = (below: number) => {
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
      return Math.floor((seed / 2 ** 32) * below);
    };
    // Outputs share files and directories, and some are parts of others.
    const filesOf = (n: number): Files => ({
      [`d/${n % 3}`]: `file ${n % 3}`,
      [`e/f/${n % 2}`]: `file ${n % 2}`,
      g: `file ${n % 5}`,
    });
    const missing = (files: Files) => blobsOf(files).filter((data) => !isThere(data, busy));
    const hits = new Map<string, { files: Files; until: number }>();
    const outputs = new Map<string, Files>();
    let [found, made, evicted] = [0, 0, 0];

    async function ask(n = random(7)): Promise<void> {
      const client = busy.as('ada');
      const answer = await find(client, work(`busy ${n}`, { outputTtl: durationFromMs(random(3) * 12 * hour) }));
      const uuid = uuidOf(answer);
      if (answer.job?.state === JobState.COMPLETE) {
        found++;
        hits.set(uuid, { files: outputs.get(uuid) ?? {}, until: ahead + day });
        return;
      }
      const files = filesOf(n);
      outputs.set(uuid, files);
      try {
        await finish(uuid, files, busy);
      } catch (error) {
        // Another asked for the same at the same moment, and claimed it first; or something went between the upload and the report.
        if (!/is Running|is Complete|not all of it is here|another attempt|CLAIMED|claimed/.test(String(error)))
          throw error;
        return;
      }
      made++;
      t.deepEqual(missing(files).map(sha256), [], `a completion of ${uuid} has holes`);
    }

    function check(): void {
      for (const [uuid, { files, until }] of hits) {
        if (until < ahead) hits.delete(uuid);
        else t.deepEqual(missing(files).map(sha256), [], `a hit of ${uuid} is gone`);
      }
    }

    for (let i = 0; i < rounds(8, 500); i++) {
      const sweeping = Promise.resolve(random(4) > 0 ? sweep(busy) : undefined).then((swept) => {
        evicted += Number(swept?.evictedCount ?? 0n);
      });
      const stopped = random(3) === 0;
      const asking = Array.from({ length: 1 + random(6) }, () => ask());
      // Whatever is under way ends with the server, as half a sweep.
      if (stopped) await busy.restart();
      const ended = await Promise.allSettled([sweeping, ...asking]);
      if (!stopped) for (const one of ended) if (one.status === 'rejected') throw one.reason;
      evicted += Number((await sweep(busy)).evictedCount);
      check();
      pass([10 * 60_000, hour, 13 * hour, 50 * hour][random(4)] as number, busy);
      check();
    }
    for (let i = 0; i < 2; i++) await ask(0);
    check();
    pass(100 * hour, busy);
    evicted += Number((await sweep(busy)).evictedCount);
    busy.errors.splice(0);
    t.log({ found, made, evicted });
    t.true(found > 0 && made > 0 && evicted > 0);
  },
);
