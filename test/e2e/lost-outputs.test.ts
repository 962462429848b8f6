import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { seedJobs, seedParameters } from '../../bench/seed.js';
import { Outcome, Rule } from '../../gen/memoir/jobs/v1/decision_pb.js';
import { ContentKind } from '../../gen/memoir/jobs/v1/digest_pb.js';
import { buildTree } from '../../src/content/trees/build-tree.js';
import { systemEdge } from '../../src/edge.js';
import { openSqliteLog, openSqliteStore } from '../../src/eventstore/sqlite/store.js';
import { openContentStore } from '../../src/worker/store/content-store.js';
import { collect } from '../contract/events.js';
import { runMemoir } from '../support/command.js';
import { contentClient, digestOf, sha256 } from '../support/content.js';
import { makeRepository } from '../support/git-repository.js';
import { refused } from '../support/refused.js';
import { rounds } from '../support/rounds.js';
import { complete, find, plenty, request, uuidOf } from '../support/runs.js';
import { startTestServer } from '../support/server.js';
import { until } from '../support/until.js';

const repository = makeRepository();
repository.commit({ 'run.sh': '#!/bin/sh\n' });
const repositories = { project: repository.path };
const server = await startTestServer({ repositories });
const ada = server.as('ada');
let cas = contentClient(server.address(), 'ada');

test.after.always(async () => {
  cas.close();
  await server.dispose();
  repository.dispose();
});

/** What stands in a stream. */
async function eventsOf(dataDir: string, stream: string) {
  const log = openSqliteLog(join(dataDir, 'events.sqlite'));
  const events: { readonly type: string; readonly data: Readonly<Record<string, unknown>> }[] = [];
  for await (const { type, data } of log.readStream(stream)) events.push({ type, data: JSON.parse(data) });
  await log.close();
  return events;
}

type Files = Readonly<Record<string, string>>;

/** Completes a job with an output of these files, and a log. */
async function finish(uuid: string, files: Files, log = 'a log', clients = ada, client = cas) {
  const claimToken = randomBytes(32);
  await clients.worker.claimJob({ uuid, claimToken, offer: plenty });
  const blobs = [...Object.values(files), log].map((text) => Buffer.from(text));
  const { root, directories } = buildTree(
    Object.entries(files).map(([path, text]) => ({
      path,
      blob: { hash: sha256(Buffer.from(text)), size: Buffer.byteLength(text) },
      executable: false,
    })),
  );
  const all = [...blobs, ...directories.values()];
  await client.cas.batchUpdateBlobs({ requests: all.map((data) => ({ digest: digestOf(data), data })) });
  const outputDigest = { hash: root.hash, sizeBytes: BigInt(root.size), kind: ContentKind.TREE };
  const logDigest = { ...digestOf(Buffer.from(log)), kind: ContentKind.BLOB };
  const { consistencyToken, job } = await clients.worker.completeJob({ uuid, claimToken, outputDigest, logDigest });
  await clients.jobs.getJob({ uuid, consistencyToken });
  return job?.output ?? '';
}

const work = (name: string) => ({ scriptParameters: { name } });
const made = async (name: string, files: Files, log?: string) => {
  const uuid = uuidOf(await request(ada, work(name)));
  const output = await finish(uuid, files, log);
  return { uuid, output };
};
const pathOf = (data: string, dir = server.config.data_dir) => {
  const hash = sha256(Buffer.from(data));
  return join(dir, 'content', 'blobs', hash.slice(0, 2), hash);
};
const hashOf = (address: string) => address.slice('sha256:'.length);
const typesOf = async (address: string) =>
  (await eventsOf(server.config.data_dir, `content-${hashOf(address)}`)).map(({ type }) => type);
const rulesOf = ({ decision }: Awaited<ReturnType<typeof find>>) =>
  decision?.candidates.map(({ ruledOutBy }) => Rule[ruledOutBy]) ?? [];

test.serial(
  'a job whose output lost a file is no answer: the first path is told, and the next finder makes it anew',
  async (t) => {
    const files = { 'a/deep/file': 'one', 'a/other': 'two', z: 'three' };
    const first = await made('other bytes', files);
    t.is(uuidOf(await find(ada, work('other bytes'))), first.uuid);
    await server.restart();
    cas.close();
    cas = contentClient(server.address(), 'ada');
    const again = server.as('ada');
    rmSync(pathOf('one'));
    // It is explained, and nothing is recorded by that.
    const asked = { repository: 'project', script: 'run.sh', scriptVersion: 'main', findOrCreate: true };
    const explained = await again.jobs.explainReuse({ request: { ...asked, ...work('other bytes') } });
    const [told] = explained.decision?.candidates ?? [];
    t.is(told?.ruledOutBy, Rule.OUTPUT_LOST);
    t.regex(
      told?.detail ?? '',
      new RegExp(
        `its output ${first.output} is lost since .*"a/deep/file", ${sha256(Buffer.from('one'))}/3, is not there`,
      ),
    );
    t.deepEqual(await typesOf(first.output), ['ContentStored']);
    // Of many that ask at once one makes it anew.
    const answers = await Promise.all(Array.from({ length: 8 }, () => find(again, work('other bytes'))));
    const [second = ''] = [...new Set(answers.map(uuidOf))];
    t.is(new Set(answers.map(uuidOf)).size, 1);
    t.not(second, first.uuid);
    t.is(answers.filter(({ reused }) => !reused).length, 1);
    t.deepEqual(await typesOf(first.output), ['ContentStored', 'ContentLost']);
    const made2 = await finish(second, { z: 'another' }, 'a log', again);
    t.not(made2, first.output);
    // The rerun is the answer from then on, also once the old one is there again.
    t.is(uuidOf(await find(again, work('other bytes'))), second);
    await cas.cas.batchUpdateBlobs({ requests: [{ digest: digestOf(Buffer.from('one')), data: Buffer.from('one') }] });
    const last = await find(again, work('other bytes'));
    t.is(uuidOf(last), second);
    t.deepEqual(rulesOf(last), ['OUTPUT_LOST', 'UNSPECIFIED']);
  },
);

test.serial('a rerun that gives the same bytes heals what was lost, and stands in its place', async (t) => {
  const client = server.as('ada');
  const first = { uuid: uuidOf(await request(client, work('same'))), output: '' };
  first.output = await finish(first.uuid, { f: 'same bytes' }, 'log 1', client);
  rmSync(pathOf('same bytes'));
  const second = uuidOf(await find(client, work('same')));
  t.not(second, first.uuid);
  t.is(await finish(second, { f: 'same bytes' }, 'log 2', client), first.output);
  t.deepEqual(await typesOf(first.output), ['ContentStored', 'ContentLost', 'ContentStored']);
  const third = await find(client, work('same'));
  t.is(uuidOf(third), second);
  t.deepEqual(rulesOf(third), ['NOT_PREFERRED', 'UNSPECIFIED']);
});

test.serial('a lost log counts too, and what is there again before anybody made it anew is the answer', async (t) => {
  const client = server.as('ada');
  const uuid = uuidOf(await request(client, work('log')));
  await finish(uuid, { f: 'with a log' }, 'the log of it', client);
  const path = pathOf('the log of it');
  renameSync(path, `${path}.away`);
  const explained = await client.jobs.explainReuse({
    request: { repository: 'project', script: 'run.sh', scriptVersion: 'main', findOrCreate: true, ...work('log') },
  });
  t.regex(explained.decision?.candidates[0]?.detail ?? '', /^its log sha256:.* is lost since .* and is not there$/);
  const hash = sha256(Buffer.from('the log of it'));
  // Whoever reports it has it recorded.
  const reported = await client.exclusions.reportOutputLost({ output: `sha256:${hash}`, reason: 'no' }).catch((e) => e);
  t.is(reported.code, 5, 'it is no output');
  const second = uuidOf(await find(client, work('log')));
  t.not(second, uuid);
  await client.jobs.cancelJob({ uuid: second });
  t.deepEqual(await typesOf(`sha256:${hash}`), ['ContentStored', 'ContentLost']);
  renameSync(`${path}.away`, path);
  const found = await until('it is found again', async () => {
    const answer = await find(client, work('log'));
    if (answer.reused) return answer;
    await client.jobs.cancelJob({ uuid: uuidOf(answer) });
    return undefined;
  });
  t.is(uuidOf(found), uuid);
  t.deepEqual(await typesOf(`sha256:${hash}`), ['ContentStored', 'ContentLost', 'ContentFound']);
});

test.serial('two jobs that differed still do when one is lost', async (t) => {
  const client = server.as('ada');
  const [one, other] = [uuidOf(await request(client, work('differ'))), uuidOf(await request(client, work('differ')))];
  await finish(one, { f: 'heads' }, 'log', client);
  await finish(other, { f: 'tails' }, 'log', client);
  t.deepEqual(rulesOf(await find(client, work('differ'))).slice(0, 2), ['OUTPUTS_DIFFER', 'OUTPUTS_DIFFER']);
  rmSync(pathOf('heads'));
  const output = (await client.jobs.getJob({ uuid: one })).job?.output ?? '';
  const { exclusionId, jobCount } = await client.exclusions.reportOutputLost({ output, reason: 'the disk broke' });
  t.deepEqual([exclusionId, jobCount], ['', 1]);
  const [, lost] = await eventsOf(server.config.data_dir, `content-${hashOf(output)}`);
  t.like(lost?.data, { message: 'the disk broke', reason: 'CONTENT_LOSS_REASON_NOT_FOUND', path: 'f' });
  const answer = await find(client, work('differ'));
  t.deepEqual(rulesOf(answer).slice(0, 2), ['OUTPUT_LOST', 'OUTPUTS_DIFFER']);
});

test.serial(
  'what is kept whole is not lost because somebody says so; what others keep is excluded as ever',
  async (t) => {
    const client = server.as('ada');
    const uuid = uuidOf(await request(client, work('whole')));
    const output = await finish(uuid, { f: 'whole' }, 'log', client);
    const report = () => client.exclusions.reportOutputLost({ output, reason: 'I think so' });
    await refused(t, server, report, { code: 'FAILED_PRECONDITION', reason: 'OUTPUT_HELD', naming: output });
    const foreign = `sha256:${'f'.repeat(64)}`;
    const elsewhere = uuidOf(await request(client, work('foreign')));
    await complete(client, elsewhere, foreign);
    // Nothing of it is here, it is reused all the same, and nothing is recorded of it.
    t.is(uuidOf(await find(client, work('foreign'))), elsewhere);
    t.deepEqual(await typesOf(foreign), []);
    const { exclusionId } = await client.exclusions.reportOutputLost({ output: foreign, reason: 'gone' });
    t.not(exclusionId, '');
    t.deepEqual(
      (await find(client, work('foreign'))).decision?.candidates.map(({ ruledOutBy }) => Rule[ruledOutBy]),
      ['EXCLUDED'],
    );
  },
);

test.serial('a blob whose bytes changed is lost as corrupt, whoever met it', async (t) => {
  const client = server.as('ada');
  const uuid = uuidOf(await request(client, work('corrupt')));
  const output = await finish(uuid, { f: 'spotless' }, 'log', client);
  t.true((await find(client, work('corrupt'))).reused);
  const path = pathOf('spotless');
  rmSync(path);
  writeFileSync(path, 'stainful');
  const read = async () => {
    for await (const _ of client.content.readOutput({ uuid, path: 'f' }));
  };
  await t.throwsAsync(read(), { message: /are not its own any more/ });
  t.like(server.errors.splice(0)[0], { msg: 'content had other bytes than its own' });
  const answer = await find(client, work('corrupt'));
  t.false(answer.reused);
  t.regex(answer.decision?.candidates[0]?.detail ?? '', /"f", .*, had other bytes than its own$/);
  t.like((await eventsOf(server.config.data_dir, `content-${hashOf(output)}`))[1]?.data, {
    reason: 'CONTENT_LOSS_REASON_CORRUPT',
  });
});

test.serial('a store that is away or was emptied loses nothing: hits are answered unchecked, or refused', async (t) => {
  const strict = await startTestServer({ repositories, settings: { content_unchecked: 'refuse' } });
  t.teardown(strict.dispose);
  for (const one of [server, strict]) {
    const client = one.as('ada');
    const content = contentClient(one.address(), 'ada');
    const uuids: string[] = [];
    for (const name of ['away', 'emptied']) {
      const uuid = uuidOf(await request(client, work(name)));
      const output = await finish(uuid, { f: `of ${name}` }, 'log', client, content);
      t.truthy(output);
      uuids.push(uuid);
    }
    const [first = ''] = uuids;
    content.close();
    const directory = join(one.config.data_dir, 'content', 'blobs');
    renameSync(directory, `${directory}.away`);
    const ask = () => find(client, work('away'));
    if (one === strict) {
      await refused(t, one, ask, { code: 'UNAVAILABLE', reason: 'CONTENT_UNAVAILABLE' });
    } else {
      const answer = await ask();
      t.is(answer.decision?.outcome, Outcome.REUSED_COMPLETE);
      t.is(uuidOf(answer), first);
      const reuses = await eventsOf(one.config.data_dir, `reuse-${first}`);
      t.like(reuses.at(-1)?.data, { basis: { contentUnchecked: true } });
    }
    t.true(one.errors.splice(0).some(({ msg }) => msg === 'it cannot be told whether outputs are there'));
    renameSync(`${directory}.away`, directory);
    // Once it is back, all is as it was.
    const answer = await until('the store is there again', () => ask().catch(() => undefined));
    t.is(uuidOf(answer), first);
    t.true(existsSync(pathOf('of emptied', one.config.data_dir)));
  }
});

test.serial('a store that loses much at once is believed only so far', async (t) => {
  const one = await startTestServer({ repositories });
  t.teardown(one.dispose);
  const client = one.as('ada');
  const content = contentClient(one.address(), 'ada');
  const names = Array.from({ length: 62 }, (_, i) => `many ${i}`);
  await Promise.all(
    names.map(async (name) => finish(uuidOf(await request(client, work(name))), { f: name }, 'log', client, content)),
  );
  content.close();
  for (const name of names) rmSync(pathOf(name, one.config.data_dir));
  const answers = await Promise.all(names.map((name) => find(client, work(name))));
  t.is(answers.filter(({ reused }) => !reused).length, 60);
  t.is(answers.filter(({ decision }) => decision?.outcome === Outcome.REUSED_COMPLETE).length, 2);
  t.true(one.errors.splice(0).length <= 1);
  // What is lost is told to whoever verifies, and recorded as far as it is believed.
  const verified = await client.retention.verifyContent({});
  t.is(verified.lost.length, 62);
  t.is(verified.newlyLost, 0n);
  for (const name of names) {
    const data = Buffer.from(name);
    writeFileSync(pathOf(name, one.config.data_dir), data);
  }
  t.like(await client.retention.verifyContent({}), { lost: [], newlyLost: 0n, found: 60n });
  // The same work was requested anew while it was lost, and so is the answer for good.
  const again = await Promise.all(names.map((name) => find(client, work(name))));
  t.is(again.filter(({ decision }) => decision?.outcome === Outcome.REUSED_QUEUED).length, 60);
});

test.serial(
  'what an old worker kept is taken in, had under both addresses, and lost as what is kept here',
  async (t) => {
    const client = server.as('ada');
    const base = mkdtempSync(join(tmpdir(), 'memoir-import-'));
    t.teardown(() => rmSync(base, { recursive: true, force: true }));
    const made = join(base, 'made');
    mkdirSync(join(made, 'd'), { recursive: true });
    writeFileSync(join(made, 'd', 'file'), 'from an old worker');
    writeFileSync(join(base, 'log.txt'), 'an old log');
    const store = await openContentStore(join(base, 'store'), { edge: systemEdge });
    const [output, log] = [await store.putDirectory(made), await store.putFile(join(base, 'log.txt'), 'log.txt')];
    writeFileSync(join(made, 'd', 'file'), 'one that is damaged');
    const damaged = await store.putDirectory(made);
    const hash = sha256(Buffer.from('one that is damaged'));
    rmSync(join(base, 'store', 'sha256', hash.slice(0, 2), hash.slice(2)));
    const uuid = uuidOf(await request(client, work('old worker')));
    await complete(client, uuid, output, log);
    t.true((await find(client, work('old worker'))).reused);
    const read = async () =>
      Buffer.concat(
        (await collect(client.content.readOutput({ uuid, path: 'd/file' }))).map(({ data }) => data),
      ).toString();
    await refused(t, server, read, { code: 'FAILED_PRECONDITION', reason: 'NOT_HELD', naming: output });
    const env = { MEMOIR_SERVER: server.address(), MEMOIR_PRINCIPAL: 'ada' };
    for (let i = 0; i < 2; i++) {
      const imported = await runMemoir(['content', 'import', join(base, 'store')], { env });
      t.is(imported.code, 4, imported.err);
      t.true(imported.out.includes('2 outputs and logs are kept by the server now'), imported.out);
      t.true(imported.err.includes(`${damaged} cannot be taken in`), imported.err);
    }
    t.is(await read(), 'from an old worker');
    const logged = await collect(client.content.readLog({ uuid }));
    t.is(Buffer.concat(logged.map(({ data }) => data)).toString(), 'an old log');
    t.is(uuidOf(await find(client, work('old worker'))), uuid);
    // A job that gives the same files today has another address, and the same output.
    const today = uuidOf(await request(client, work('old worker')));
    t.not(await finish(today, { 'd/file': 'from an old worker' }, 'log', client), output);
    t.is(uuidOf(await find(client, work('old worker'))), uuid);
    rmSync(pathOf('an old log'));
    await collect(client.content.readLog({ uuid })).catch(() => undefined);
    const answer = await find(client, work('old worker'));
    t.is(uuidOf(answer), today);
    t.regex(answer.decision?.candidates[0]?.detail ?? '', /^its log .* is lost since .*"log.txt"/);
    const none = await runMemoir(['content', 'import', made], { env });
    t.is(none.code, 2, none.err);
    t.true(none.err.includes('is no --store-dir of a worker'), none.err);
  },
);

test.serial('of the foreign outputs of an old log nothing is recorded, and no store is asked', async (t) => {
  t.timeout(1_800_000);
  // MEMOIR_ROUNDS=100 for a hundred thousand.
  const [jobs, asked] = [rounds(1_000, 100_000), rounds(300, 10_000)];
  const { config } = server;
  const settings = { data_dir: mkdtempSync(join(tmpdir(), 'memoir-foreign-')) };
  const store = await openSqliteStore(join(settings.data_dir, 'events.sqlite'), Date.now);
  const commit = repository.git('rev-parse', 'main').trim();
  await seedJobs(store, { repository: 'project', script: 'run.sh', commit, owner: 'ada' }, 0, jobs);
  await store.close();
  const old = await startTestServer({
    repositories,
    settings: { ...settings, content: { ...config.content, keep: '1s' } },
  });
  t.teardown(old.dispose);
  const client = old.as('ada');
  for (let i = 0; i < asked; i += 50) {
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, k) => {
        const n = Math.floor(((i + k) * jobs) / asked);
        return find(client, { scriptParameters: seedParameters(n), leaveLfsPointers: true, leaveSubmodules: true });
      }),
    );
    t.true(answers.every(({ reused }) => reused));
  }
  t.false(existsSync(join(settings.data_dir, 'content')), 'nothing was asked of the store');
  t.like(await client.retention.verifyContent({}), { lookedAt: 0n, lost: [] });
  t.like(await client.retention.sweepContent({}), { evictedCount: 0n, blobs: 0n, kept: 0n });
  await old.stop();
  const log = openSqliteLog(join(settings.data_dir, 'events.sqlite'));
  const types = new Map<string, number>();
  for await (const { type } of log.readAll()) types.set(type, (types.get(type) ?? 0) + 1);
  await log.close();
  t.deepEqual(
    [...types.keys()].filter((type) => type.startsWith('Content')),
    [],
  );
  t.is(types.get('JobReused'), asked);
});

test.serial('an audit takes every decision again as it was', async (t) => {
  const dir = server.config.data_dir;
  const args = ['audit', 'decisions', '--data-dir', dir, '--repository', `project=${repository.path}`];
  const audited = await runMemoir(args);
  t.is(audited.code, 0, audited.out + audited.err);
  t.regex(audited.out, /decisions/);
});
