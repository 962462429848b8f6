import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import test from 'ava';
import { pino } from 'pino';
import { type Job, JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { parseContentUrl } from '../../src/domain/outputs/content-url.js';
import { systemEdge } from '../../src/edge.js';
import { callCas } from '../../src/rpc/content/called/call-cas.js';
import { workPlace } from '../../src/worker/run-failure.js';
import { countedOn } from '../../src/worker/upload/counted-on.js';
import { uploadedOutputs } from '../../src/worker/upload/uploaded-outputs.js';
import { collect } from '../contract/events.js';
import { casdProgram, freePort, hasCasd, startCasd } from '../support/casd.js';
import { makeAuthority } from '../support/certificates.js';
import { runMemoir } from '../support/command.js';
import { contentClient, digestOf, directory, download, sha256, upload, writes } from '../support/content.js';
import { makeRepository } from '../support/git-repository.js';
import { failure } from '../support/refused.js';
import { find, request, uuidOf } from '../support/runs.js';
import { startTestServer } from '../support/server.js';
import { hasOpenssl, tlsBefore } from '../support/tls-proxy.js';
import { until } from '../support/until.js';
import { remoteContent, workOnce } from '../support/worker.js';

// A client that was not written here: BuildBox's storage daemon, which has everything that it does not know from Memoir, and puts there
// what it is given. And the same as the store that a server keeps its content in.

test('buildbox-casd in front of Memoir puts what it is given there, and gives what is there', async (t) => {
  if (!hasCasd(t)) return;
  const server = await startTestServer();
  const folder = mkdtempSync(join(tmpdir(), 'memoir-casd-'));
  const port = await freePort();
  const casd = await startCasd(port, folder, `--cas-remote=http://${server.address()}`);
  const [front, memoir] = [contentClient(`127.0.0.1:${port}`, 'ada'), contentClient(server.address(), 'ada')];
  try {
    const [small, large] = [randomBytes(100), randomBytes(5_000_000)];
    const digests = [small, large].map(digestOf);
    const missing = await front.cas.findMissingBlobs({ blobDigests: digests });
    t.is(missing.missingBlobDigests.length, 2);
    await front.cas.batchUpdateBlobs({ requests: [{ digest: digestOf(small), data: small }] });
    await front.bytes.write(writes(upload(large), large));
    t.deepEqual((await memoir.cas.findMissingBlobs({ blobDigests: digests })).missingBlobDigests, []);

    const [other, more] = [randomBytes(300), randomBytes(3_000_000)];
    const leaf = directory({ files: [{ name: 'f', digest: digestOf(other) }] });
    const root = directory({ directories: [{ name: 'd', digest: digestOf(leaf) }] });
    const put = [other, leaf, root].map((data) => ({ digest: digestOf(data), data }));
    await memoir.cas.batchUpdateBlobs({ requests: put });
    await memoir.bytes.write(writes(upload(more), more));
    const { responses } = await front.cas.batchReadBlobs({ digests: [digestOf(other)] });
    t.true(other.equals(responses[0]?.data ?? new Uint8Array()));
    const pieces: Uint8Array[] = [];
    for await (const { data } of front.bytes.read({ resourceName: download(more) })) pieces.push(data);
    t.true(Buffer.concat(pieces).equals(more));
    const walked: string[] = [];
    for await (const { directories } of front.cas.getTree({ rootDigest: digestOf(root) })) {
      walked.push(...directories.map((one) => sha256(directory(one))));
    }
    t.deepEqual(walked.sort(), [sha256(root), sha256(leaf)].sort());
  } finally {
    await casd.kill();
    front.close();
    memoir.close();
    await server.dispose();
    rmSync(folder, { recursive: true, force: true });
  }
});

test('a server keeps its content in buildbox-casd: puts, inputs, outputs, hits, and what may become of such a store', async (t) => {
  if (!hasCasd(t)) return;
  const folder = mkdtempSync(join(tmpdir(), 'memoir-elsewhere-'));
  const repository = makeRepository();
  repository.commit({
    'run.sh':
      '#!/bin/sh\nmkdir "$MEMOIR_OUTPUT/d"; cat "$MEMOIR_PARAMETERS" > "$MEMOIR_OUTPUT/d/p"; test -z "$MEMOIR_INPUTS" || cp -rL "$MEMOIR_INPUTS"/*/* "$MEMOIR_OUTPUT"; chmod -R u+w "$MEMOIR_OUTPUT"\n',
    'waits.sh':
      '#!/bin/sh\nn=0; until [ -e "$RELEASE" ]; do n=$((n+1)); echo "{\\"message\\":\\"$n\\"}" > "$MEMOIR_PROGRESS"; sleep 0.1; done\n',
  });
  const port = await freePort();
  const start = (name: string, ...more: string[]) => startCasd(port, join(folder, name), ...more);
  let casd = await start('one');
  const store = `grpc://127.0.0.1:${port}`;
  const server = await startTestServer({
    repositories: { project: repository.path },
    settings: { content: { store, scrub_rate: 0 } },
  });
  const ada = server.as('ada');
  const as = { env: { MEMOIR_SERVER: server.address(), MEMOIR_PRINCIPAL: 'ada' } };
  const elsewhere = remoteContent(`127.0.0.1:${port}`, 'memoir');
  async function ran(uuid: string, more = {}): Promise<Job> {
    await ada.jobs.getJob({ uuid });
    await workOnce({ address: server.address(), principal: 'w', repository: ['project', repository.path], ...more });
    return (await ada.jobs.getJob({ uuid })).job as Job;
  }
  const read = async (uuid: string, path: string) =>
    Buffer.concat((await collect(ada.content.readOutput({ uuid, path }))).map(({ data }) => data));
  const losses = async () =>
    (await collect(server.as('root').history.readHistory({ principal: 'memoir' }))).filter(
      ({ event }) => event?.eventType === 'ContentLost',
    ).length;
  try {
    const local = join(folder, 'reads');
    mkdirSync(local);
    const [large, small] = [randomBytes(5_000_000), randomBytes(10)];
    writeFileSync(join(local, 'large'), large);
    writeFileSync(join(local, 'small'), small);
    const said = await runMemoir(['put', '--json', local], as);
    t.is(said.code, 0, said.err);
    const { address } = JSON.parse(said.out);
    const job = await ran(uuidOf(await find(ada, { scriptParameters: { address } })));
    t.is(job.state, JobState.COMPLETE, job.failureMessage);
    t.true(large.equals(await read(job.uuid, 'large')));
    t.true(small.equals(await read(job.uuid, 'small')));
    const part = await collect(
      ada.content.readOutput({ uuid: job.uuid, path: 'large', offset: 4_999_990n, limit: 5n }),
    );
    t.true(large.subarray(4_999_990, 4_999_995).equals(Buffer.concat(part.map(({ data }) => data))));
    const fetched = await runMemoir(['output', 'get', job.uuid, '--to', join(folder, 'got')], as);
    t.is(fetched.code, 0, fetched.err);
    t.deepEqual(readdirSync(join(folder, 'got')).sort(), ['d', 'large', 'small']);
    // Nothing of it is kept beside the store.
    const spool = join(server.config.data_dir, 'content-spool', 'blobs');
    t.false(readdirSync(spool).some((name) => readdirSync(join(spool, name)).some((blob) => blob === sha256(large))));
    // A worker that reaches the store itself, without the claim token.
    const direct = await ran(uuidOf(await request(ada, { scriptParameters: { address, direct: true } })), {
      content: { ...elsewhere, elsewhere: true },
    });
    t.is(direct.state, JobState.COMPLETE, direct.failureMessage);
    // Such a worker itself has the store let everything stay that its run counts on.
    const objects = join(folder, 'one', 'cas', 'objects');
    const pathOf = (hash: string) => join(objects, hash.slice(0, 2), hash.slice(2));
    const aWhileAgo = Date.now() / 1_000 - 36_000;
    const age = (hashes: readonly string[]) => {
      for (const hash of hashes) utimesSync(pathOf(hash), aWhileAgo, aWhileAgo);
    };
    const renewed = (hashes: readonly string[]) =>
      hashes.every((hash) => statSync(pathOf(hash)).mtimeMs > aWhileAgo * 1_000 + 3_600_000);
    const release = join(folder, 'release');
    const counted = countedOn(elsewhere, systemEdge, pino({ level: 'silent' }), 1);
    const long = uuidOf(await request(ada, { script: 'waits.sh', scriptParameters: { address } }));
    const running = ran(long, {
      content: { ...elsewhere, elsewhere: true, countedOn: counted },
      environment: { RELEASE: release },
    });
    await until('the script runs', async () => (await ada.jobs.getJob({ uuid: long })).job?.progressMessage !== '');
    const other = randomBytes(50);
    await elsewhere.cas.batchUpdateBlobs({ requests: [{ digest: digestOf(other), data: other }] });
    const inputs = [address.slice('sha256:'.length), sha256(large), sha256(small)];
    age([...inputs, sha256(other)]);
    await until('all of the inputs was asked for', () => renewed(inputs));
    t.false(renewed([sha256(other)]));
    writeFileSync(release, '');
    t.is((await running).state, JobState.COMPLETE);
    const of = { uuid: long, claimToken: randomBytes(16) };
    const left = uploadedOutputs({ ...elsewhere, elsewhere: true, countedOn: counted }, workPlace);
    const signal = new AbortController().signal;
    const { digest } = await left.putDirectory(local, { run: { run: local, worker: local }, signal }, of);
    const outputs = [digest?.hash ?? '', sha256(large), sha256(small)];
    age(outputs);
    counted.renew(of);
    await until('all that was uploaded was asked for', () => renewed(outputs));
    counted.end(of);

    // What is not there is not complete.
    const uuid = uuidOf(await request(ada, { scriptParameters: { hole: true } }));
    await server.as('w').worker.claimJob({ uuid });
    const report = { uuid, outputDigest: { ...digestOf(randomBytes(5)), kind: 2 } };
    t.is((await failure(t, () => server.as('w').worker.completeJob(report))).reason, 'CONTENT_INCOMPLETE');
    await server.as('w').worker.failJob({ uuid, reason: 'X', message: '' });
    t.true((await find(ada, { scriptParameters: { address } })).reused);

    // Killed: what needs bytes waits or is refused, all else goes on; started again, it is as before.
    await casd.kill('SIGKILL');
    t.is((await failure(t, () => read(job.uuid, 'small'))).reason, 'CONTENT_UNAVAILABLE');
    t.is(
      (await failure(t, () => request(ada, { scriptParameters: { address, again: 1 } }))).reason,
      'CONTENT_UNAVAILABLE',
    );
    t.true((await find(ada, { scriptParameters: { address } })).reused);
    const without = uuidOf(await request(ada, { scriptParameters: { without: 1 } }));
    casd = await start('one');
    await until('it answers again', async () => {
      const got = await read(job.uuid, 'small').catch(() => undefined);
      return got?.equals(small) === true;
    });
    t.is((await ran(without)).state, JobState.COMPLETE);

    // Another store under the same address, which answers "missing" for everything: nothing of it is believed.
    await casd.kill();
    casd = await start('two');
    await until('it is asked', async () => (await failure(t, () => read(job.uuid, 'small'))).reason === 'CONTENT_LOST');
    const hit = await find(ada, { scriptParameters: { address } });
    t.is(hit.job?.uuid, job.uuid);
    t.is(await losses(), 0);
    await casd.kill();

    // It evicts: what is gone is lost, and made anew.
    casd = await start('one');
    rmSync(pathOf(sha256(small)));
    await until('it is asked', async () => (await failure(t, () => read(job.uuid, 'small'))).reason === 'CONTENT_LOST');
    // A store that was away is asked again a second later.
    const anew = await until('it is made anew', async () => {
      const found = await find(ada, { scriptParameters: { address } });
      return !found.reused && found;
    });
    t.is(await losses(), 1);
    // Of the same bytes, it takes them from where they are, or says what it lacks.
    t.is((await ran(uuidOf(anew))).failureReason, 'INPUT_LOST');
    t.is((await runMemoir(['put', '--json', local], as)).code, 0);
    const last = await ran(uuidOf(await request(ada, { scriptParameters: { address, last: true } })));
    t.is(last.state, JobState.COMPLETE, last.failureMessage);

    // A full one takes nothing, whether in a batch or by itself, and jobs go on; once there is room all is as before.
    await casd.kill();
    casd = await start('one', '--reserved=100000G');
    const raw = contentClient(server.address(), 'ada');
    try {
      const [some, more] = [randomBytes(100_000), randomBytes(3_000_000)];
      await until('it answers again', () =>
        raw.cas.findMissingBlobs({ blobDigests: [digestOf(some)] }).catch(() => false as const),
      );
      const batch = { requests: [{ digest: digestOf(some), data: some }] };
      t.is((await raw.cas.batchUpdateBlobs(batch)).responses[0]?.status?.code, status.RESOURCE_EXHAUSTED);
      t.is((await failure(t, () => raw.bytes.write(writes(upload(more), more)))).reason, 'CONTENT_FULL');
      uuidOf(await request(ada, { scriptParameters: { full: true } }));
      await casd.kill();
      casd = await start('one');
      await until('there is room again', async () => {
        const { responses } = await raw.cas.batchUpdateBlobs(batch).catch(() => ({ responses: [] }));
        return responses[0]?.status?.code === status.OK;
      });
      t.is((await raw.bytes.write(writes(upload(more), more))).committedSize, 3_000_000n);
    } finally {
      raw.close();
    }
  } finally {
    elsewhere.close();
    await casd.kill();
    await server.dispose().catch(() => undefined);
    repository.dispose();
    rmSync(folder, { recursive: true, force: true });
  }
});

test('a store is called by TLS, in the instance that is named; what is wrong with its certificate is said', async (t) => {
  if (!hasOpenssl(t)) return;
  const folder = mkdtempSync(join(tmpdir(), 'memoir-tls-store-'));
  const authority = makeAuthority();
  const repository = makeRepository();
  repository.commit({
    'run.sh': '#!/bin/sh\ncp -L "$MEMOIR_INPUTS"/*/* "$MEMOIR_OUTPUT"; chmod -R u+w "$MEMOIR_OUTPUT"\n',
  });
  const casd = spawnSync(casdProgram, ['--version']).status === 0;
  if (!casd) t.log('buildbox-casd is not there: the store is one of Memoir, which has no instances');
  const port = await freePort();
  const own = casd ? undefined : await startTestServer();
  const daemon = casd ? await startCasd(port, join(folder, 'store'), '--local-server-instance=team/a') : undefined;
  const behind = own?.address() ?? `127.0.0.1:${port}`;
  const instance = casd ? 'team/a' : '';
  const front = await tlsBefore(behind, authority.certify('DNS:localhost'));
  const expired = await tlsBefore(behind, authority.certify('DNS:localhost', 'past'));
  const url = (at: string) => `grpcs://${at}${instance === '' ? '' : `/${instance}`}`;
  const server = await startTestServer({
    repositories: { project: repository.path },
    settings: { content: { store: url(`localhost:${front.port}`), ca: authority.caFile, scrub_rate: 0 } },
  });
  const [ada, plain] = [contentClient(server.address(), 'ada'), contentClient(behind, 'memoir')];
  try {
    const [small, large] = [randomBytes(100), randomBytes(3_000_000)];
    const blobDigests = [small, large].map(digestOf);
    t.is((await ada.cas.findMissingBlobs({ blobDigests })).missingBlobDigests.length, 2);
    await ada.cas.batchUpdateBlobs({ requests: [{ digest: digestOf(small), data: small }] });
    await ada.bytes.write(writes(upload(large), large));
    const { responses } = await ada.cas.batchReadBlobs({ digests: [digestOf(small)] });
    t.true(small.equals(responses[0]?.data ?? new Uint8Array()));
    const pieces = await collect(ada.bytes.read({ resourceName: download(large) }));
    t.true(Buffer.concat(pieces.map(({ data }) => data)).equals(large));
    // It lies in that instance, and there is no other one by a name like it.
    t.deepEqual((await plain.cas.findMissingBlobs({ instanceName: instance, blobDigests })).missingBlobDigests, []);
    await t.throwsAsync(plain.cas.findMissingBlobs({ instanceName: 'team/none', blobDigests }));

    // A worker reaches it there by itself, by the authority that it is told of.
    writeFileSync(join(folder, 'reads'), large);
    const as = { env: { MEMOIR_SERVER: server.address(), MEMOIR_PRINCIPAL: 'ada' } };
    const put = await runMemoir(['put', '--json', join(folder, 'reads')], as);
    t.is(put.code, 0, put.err);
    const { address } = JSON.parse(put.out);
    const uuid = uuidOf(await find(server.as('ada'), { scriptParameters: { reads: `${address}/reads` } }));
    const direct = [
      'worker',
      '--once',
      '--repository',
      `project=${repository.path}`,
      '--work-dir',
      join(folder, 'work'),
    ];
    mkdirSync(join(folder, 'work'));
    const to = ['--content', url(`localhost:${front.port}`), '--content-ca'];
    const worked = await runMemoir([...direct, ...to, authority.caFile], as);
    t.is(worked.code, 0, worked.err);
    const { job } = await server.as('ada').jobs.getJob({ uuid });
    t.is(job?.state, JobState.COMPLETE, `${job?.failureMessage} ${worked.err}`);
    t.is(job?.outputDigest?.hash, address.slice('sha256:'.length));
    const refused = await runMemoir(
      [...direct, '--content', 'grpc://localhost:1', '--content-ca', authority.caFile],
      as,
    );
    t.is(refused.code, 2);
    t.regex(refused.err, /--content-ca goes with a --content of grpcs: alone/);

    const ca = readFileSync(authority.caFile);
    const told = async (at: string, by?: Buffer) => {
      const called = callCas(parseContentUrl(url(at)), by);
      const error = await called.cas.findMissingBlobs({ instanceName: instance, blobDigests }).catch((e) => e);
      called.close();
      const { reason, cause } = called.told(error);
      t.is(reason, 'CONTENT_UNAVAILABLE');
      return String(cause);
    };
    const wrong = makeAuthority();
    for (const by of [undefined, readFileSync(wrong.caFile)]) {
      t.regex(
        await told(`localhost:${front.port}`, by),
        /no authority that is trusted here vouches for its certificate/,
      );
    }
    wrong.dispose();
    t.regex(await told(`127.0.0.1:${front.port}`, ca), /its certificate is for other names/);
    t.regex(await told(`localhost:${expired.port}`, ca), /its certificate is not valid at this time/);
    t.regex(await told(behind, ca), /it does not speak TLS: call it as grpc:/);
    // Whoever needs bytes is told that they cannot be had, and the server's log what to mend.
    const elsewhere = join(folder, 'no.pem');
    await t.throwsAsync(
      startTestServer({ settings: { content: { store: url('localhost:1'), ca: elsewhere, scrub_rate: 0 } } }),
      {
        message: /content.ca .*no.pem.* cannot be read/,
      },
    );
  } finally {
    ada.close();
    plain.close();
    await server.dispose();
    front.close();
    expired.close();
    await daemon?.kill();
    await own?.dispose();
    authority.dispose();
    repository.dispose();
    rmSync(folder, { recursive: true, force: true });
  }
});
