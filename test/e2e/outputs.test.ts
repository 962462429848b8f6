import { randomBytes } from 'node:crypto';
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import test from 'ava';
import { OutputEntry_Kind, OutputEntrySchema } from '../../gen/memoir/content/v1/content_service_pb.js';
import { ContentKind } from '../../gen/memoir/jobs/v1/digest_pb.js';
import { type Job, JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { checkEntries } from '../../src/cli/content/checked-entries.js';
import { buildTree } from '../../src/content/trees/build-tree.js';
import { emptyOutput } from '../../src/domain/empty-output.js';
import { claimHeader, claimText } from '../../src/rpc/claim-header.js';
import { addressOf, manifestBytes } from '../../src/worker/store/manifest.js';
import { uploadBlobs } from '../../src/worker/upload/upload-blobs.js';
import { collect } from '../contract/events.js';
import { runMemoir } from '../support/command.js';
import { contentClient, digestOf, directory, download, sha256, upload, writes } from '../support/content.js';
import { cuttingProxy } from '../support/cutting-proxy.js';
import { makeRepository } from '../support/git-repository.js';
import { failure, refused } from '../support/refused.js';
import { complete, find, request, uuidOf } from '../support/runs.js';
import { startTestServer } from '../support/server.js';
import { until } from '../support/until.js';
import { remoteContent, workOnce } from '../support/worker.js';

const large = randomBytes(700_000).toString('hex');
const repository = makeRepository();
repository.commit({
  'run.sh': '#!/bin/sh\necho hello; mkdir -p "$MEMOIR_OUTPUT/a/b"; cp data "$MEMOIR_OUTPUT/a/b/data"\n',
  'make.sh': [
    '#!/bin/sh',
    'cd "$MEMOIR_OUTPUT"; mkdir -p d/e empty; printf small > d/e/small; printf "#!/bin/sh\\n" > tool; chmod +x tool',
    'ln -s d/e/small link; ln -s ../../tool d/e/up; cp "$OLDPWD/data" large; : > nothing; echo made',
  ].join('\n'),
  'out.sh': '#!/bin/sh\nln -s /etc/passwd "$MEMOIR_OUTPUT/passwd"\n',
  'part.sh': '#!/bin/sh\nmkdir "$MEMOIR_OUTPUT/a"; printf half > "$MEMOIR_OUTPUT/a/part"; echo begun; exit 3\n',
  'long.sh': '#!/bin/sh\nprintf half > "$MEMOIR_OUTPUT/part"; sleep 60\n',
  'fail.sh': '#!/bin/sh\necho why; exit 3\n',
  data: large,
});
const dir = mkdtempSync(join(tmpdir(), 'memoir-outputs-'));
const policy = join(dir, 'policy.toml');
writeFileSync(
  policy,
  ['ada submitter project', 'runner worker project', 'eve worker elsewhere', 'root admin **']
    .map((grant) => grant.split(' '))
    .map(([to, role, of]) => `[[grants]]\nto = ["${to}"]\nroles = ["${role}"]\nrepositories = ["${of}"]\n`)
    .join('\n'),
);
const server = await startTestServer({
  repositories: { project: repository.path, elsewhere: repository.path },
  settings: { policy },
});
type Clients = ReturnType<typeof server.as>;
const [ada, runner, eve, root] = ['ada', 'runner', 'eve', 'root'].map(server.as) as [
  Clients,
  Clients,
  Clients,
  Clients,
];
const runnersContent = contentClient(server.address(), 'runner');

test.after.always(async () => {
  runnersContent.close();
  await server.dispose();
  repository.dispose();
  rmSync(dir, { recursive: true, force: true });
});

const getJob = async (uuid: string): Promise<Job> => (await ada.jobs.getJob({ uuid })).job as Job;

async function run(script: string, more: Parameters<typeof request>[1] = {}): Promise<Job> {
  const { job, consistencyToken } = await request(ada, { script, ...more });
  const uuid = job?.uuid ?? '';
  await ada.jobs.getJob({ uuid, consistencyToken });
  await workOnce({ address: server.address(), principal: 'runner', repository: ['project', repository.path] });
  return getJob(uuid);
}

/** A job of `run.sh` that the runner has claimed, and the metadata by which it speaks for it. */
async function claimed(name: string) {
  const uuid = uuidOf(await request(ada, { scriptParameters: { test: name } }));
  const claimToken = Uint8Array.from(randomBytes(32));
  await runner.worker.claimJob({ uuid, claimToken });
  return { uuid, claimToken, call: { metadata: { [claimHeader]: claimText(uuid, claimToken) } } };
}

const tree = ({ hash, size }: { hash: string; size: number }) => ({
  hash,
  sizeBytes: BigInt(size),
  kind: ContentKind.TREE,
});
const blob = (data: Uint8Array) => ({ ...digestOf(data), kind: ContentKind.BLOB });

async function put(call: object, ...blobs: Uint8Array[]) {
  const requests = blobs.map((data) => ({ digest: digestOf(data), data }));
  const { responses } = await runnersContent.cas.batchUpdateBlobs({ requests }, call);
  return responses.map(({ status }) => status?.code);
}

const listed = async (who: Clients, uuid: string, path = '', recursive = true) =>
  (await collect(who.content.listOutput({ uuid, path, recursive }))).flatMap(({ entries }) => entries);

const listedOf = (who: Clients, uuid: string, attempt: number) => collect(who.content.listOutput({ uuid, attempt }));

async function bytes(messages: AsyncIterable<{ readonly data: Uint8Array }>): Promise<Buffer> {
  return Buffer.concat((await collect(messages)).map(({ data }) => data));
}

test.serial('a job leaves its output and log with the server, and who may read it has them', async (t) => {
  const job = await run('make.sh');
  t.is(job.state, JobState.COMPLETE, job.failureMessage);
  t.is(job.output, `sha256:${job.outputDigest?.hash}`);
  t.is(job.log, `sha256:${sha256(Buffer.from('made\n'))}`);
  const small = Buffer.from('small');
  const tool = Buffer.from('#!/bin/sh\n');
  const file = (path: string, data: Uint8Array, executable = false) => {
    return { path, size: data.length, sha256: sha256(data), executable };
  };
  const manifest = [
    file('d/e/small', small),
    { path: 'd/e/up', symlink: '../../tool' },
    file('large', Buffer.from(large)),
    { path: 'link', symlink: 'd/e/small' },
    file('nothing', Buffer.alloc(0)),
    file('tool', tool, true),
  ];
  t.is(job.outputV1, addressOf(sha256(manifestBytes(manifest))));

  const entries = await listed(ada, job.uuid);
  const { FILE, DIRECTORY, SYMLINK } = OutputEntry_Kind;
  t.deepEqual(
    entries.map(({ path, kind }) => [path, kind]),
    [
      ['d', DIRECTORY],
      ['d/e', DIRECTORY],
      ['d/e/small', FILE],
      ['d/e/up', SYMLINK],
      ['large', FILE],
      ['link', SYMLINK],
      ['nothing', FILE],
      ['tool', FILE],
    ],
  );
  t.deepEqual(
    entries.map(({ executable }) => executable),
    [false, false, false, false, false, false, false, true],
  );
  t.deepEqual(
    (await listed(ada, job.uuid, 'd', false)).map(({ path }) => path),
    ['d/e'],
  );
  t.deepEqual(
    (await listed(ada, job.uuid, 'link')).map(({ path }) => path),
    ['d/e/small'],
  );
  const read = (path: string, more = {}) => bytes(ada.content.readOutput({ uuid: job.uuid, path, ...more }));
  t.is((await read('large')).toString(), large);
  t.is((await read('large', { offset: 1_000_000n, limit: 5n })).toString(), large.slice(1_000_000, 1_000_005));
  t.is((await read('link')).toString(), 'small');
  t.is((await read('nothing')).length, 0);
  t.is((await bytes(ada.content.readLog({ uuid: job.uuid }))).toString(), 'made\n');
  t.is((await bytes(ada.content.readLog({ uuid: job.uuid, attempt: 1, offset: 2n }))).toString(), 'de\n');

  const told = await collect(root.history.readHistory({ principal: 'runner' }));
  const stored = told.flatMap(({ event }) => (event?.event.case === 'contentStored' ? [event.event.value] : []));
  t.deepEqual(
    stored.map(({ digest, principal, job: of, attempt }) => [digest?.hash, principal, of, attempt]).sort(),
    [job.outputDigest, job.logDigest].map((digest) => [digest?.hash, 'runner', job.uuid, 1]).sort(),
  );
  // It is nothing for who may not read all.
  const own = await collect(ada.history.readHistory({ principal: 'runner' }));
  t.true(own.length > 0);
  t.false(own.some(({ event }) => event?.event.case === 'contentStored'));
});

test.serial('the same files are the same output by either address, for reuse and for exclusions', async (t) => {
  const [first] = (await ada.jobs.listJobs({ filters: [] })).jobs.filter(({ script }) => script === 'make.sh');
  const { output = '', outputV1 = '' } = first ?? {};
  // As a worker of an earlier version would have told it.
  const older = uuidOf(await request(ada, { script: 'make.sh' }));
  await complete(runner, older, outputV1);
  const found = await find(ada, { script: 'make.sh' });
  t.true(found.reused, found.decision?.summary);
  t.is(uuidOf(found), first?.uuid ?? '');
  // Who took it by either address is reached through both.
  const takers = [output, outputV1].map((from) => ({ scriptParameters: { from } }));
  const taken: string[] = [];
  for (const more of takers) {
    const uuid = uuidOf(await request(ada, more));
    await complete(runner, uuid, `sha256:${sha256(Buffer.from(uuid))}`);
    taken.push(uuid);
  }
  const hits = async (value: string, cascade: boolean) => {
    const target = { case: 'output' as const, value };
    const answer = await root.exclusions.excludeFromReuse({ target, cascade, reason: 'bad', dryRun: true });
    return answer.hits.map(({ uuid }) => uuid).sort();
  };
  t.deepEqual(await hits(outputV1, false), [first?.uuid, older].sort());
  t.deepEqual(await hits(outputV1, true), [first?.uuid, older, ...taken].sort());
  // The server knows both.
  t.deepEqual(await hits(output, false), [first?.uuid, older].sort());
  t.deepEqual(await hits(output, true), [first?.uuid, older, ...taken].sort());
});

test.serial(
  'an output that leads out of itself fails the job, and the log of a job that failed is there',
  async (t) => {
    const out = await run('out.sh');
    t.deepEqual([out.state, out.failureReason], [JobState.FAILED, 'UNSTORABLE_OUTPUT']);
    t.true(out.failureMessage.includes('"passwd"'), out.failureMessage);
    const failed = await run('fail.sh');
    t.deepEqual([failed.state, failed.failureReason], [JobState.FAILED, 'SCRIPT_FAILED']);
    t.is((await bytes(ada.content.readLog({ uuid: failed.uuid }))).toString(), 'why\n');
    await refused(t, server, () => listed(ada, failed.uuid), {
      code: 'FAILED_PRECONDITION',
      reason: 'NO_OUTPUT',
      naming: 'Failed',
    });
  },
);

test.serial(
  'what a script had made until it failed is kept with its attempt, and is no output of the job',
  async (t) => {
    const zero = { seconds: 0n };
    const again = { script: 'part.sh', retry: { failed: 1, minBackoff: zero, maxBackoff: zero } };
    let job = await run(again.script, again);
    for (let tries = 0; job.state === JobState.QUEUED && tries < 5; tries++) {
      await workOnce({ address: server.address(), principal: 'runner', repository: ['project', repository.path] });
      job = await getJob(job.uuid);
    }
    const { uuid } = job;
    t.like(job, { state: JobState.FAILED, failureReason: 'SCRIPT_FAILED', output: '', attemptCount: 2 });
    t.is(job.outputDigest, undefined);
    const events = (await collect(root.history.readHistory({ uuid }))).map(({ event }) => event?.event?.value);
    const ends = events.filter((event) => event !== undefined && /Failed|AttemptEnded/.test(event.$typeName));
    for (const [i, attempt] of job.attempts.entries()) {
      t.is(attempt.output, `sha256:${attempt.outputDigest?.hash}`);
      t.like(ends[i], { attempt: i + 1, output: attempt.output });
      const { number } = attempt;
      const made = await collect(ada.content.listOutput({ uuid, recursive: true, attempt: number }));
      t.deepEqual(
        made.flatMap(({ entries }) => entries).map(({ path }) => path),
        ['a', 'a/part'],
      );
      t.is(String(await bytes(ada.content.readOutput({ uuid, path: 'a/part', attempt: number }))), 'half');
      const lists = { code: 'NOT_FOUND', reason: 'JOB_NOT_FOUND', naming: uuid } as const;
      await refused(t, server, () => listedOf(eve, uuid, number), lists);
    }
    const none = { code: 'FAILED_PRECONDITION', reason: 'NO_OUTPUT' } as const;
    await refused(t, server, () => listed(ada, uuid), { ...none, naming: 'attempt 2 left what it had made' });
    const missing = { code: 'NOT_FOUND', reason: 'ATTEMPT_NOT_FOUND', naming: 'no attempt 3' } as const;
    await refused(t, server, () => listedOf(ada, uuid, 3), missing);
    const env = { MEMOIR_SERVER: server.address(), MEMOIR_PRINCIPAL: 'ada' };
    const memoir = (...args: string[]) => runMemoir(args, { env });
    t.regex((await memoir('output', 'list', uuid, '--attempt', '1')).out, /4 B {2}a\/part/);
    t.is((await memoir('output', 'cat', uuid, 'a/part', '--attempt', '2')).out, 'half');
    const to = join(dir, 'of-attempt');
    t.is((await memoir('output', 'get', uuid, '--attempt', '1', '--to', to)).code, 0);
    t.is(readFileSync(join(to, 'a/part'), 'utf8'), 'half');
    // As it was, and never an answer.
    const failed = (await collect(root.history.readHistory({ uuid }))).at(-1)?.event?.position ?? 0n;
    const asOf = (position: bigint) => ({ moment: { case: 'position' as const, value: position } });
    t.deepEqual((await ada.jobs.getJob({ uuid, asOf: asOf(failed) })).job?.attempts, job.attempts);
    const [first, second] = (await ada.jobs.getJob({ uuid, asOf: asOf(failed - 1n) })).job?.attempts ?? [];
    t.deepEqual([first?.output, second?.output], [job.attempts[0]?.output, '']);
    t.not(uuidOf(await find(ada, { script: 'part.sh' })), uuid);

    const over = await run('long.sh', { limits: { run: { seconds: 1n } } });
    t.like(over, { failureReason: 'RUN_LIMIT', output: '' });
    t.is(String(await bytes(ada.content.readOutput({ uuid: over.uuid, path: 'part', attempt: 1 }))), 'half');
    const silent = await run('fail.sh');
    t.is(silent.attempts[0]?.output, '');
  },
);

test.serial('what a job made is hidden from who may not read the job, and refused where it is not here', async (t) => {
  const job = await run('make.sh', { scriptParameters: { test: 'hidden' } });
  const { uuid } = job;
  for (const one of [eve, ada]) {
    const asked = one === eve ? uuid : '00000000-0000-4000-8000-000000000000';
    const hidden = { code: 'NOT_FOUND', reason: 'JOB_NOT_FOUND', naming: asked } as const;
    await refused(t, server, () => listed(one, asked), hidden);
    await refused(t, server, () => bytes(one.content.readOutput({ uuid: asked, path: 'tool' })), hidden);
    await refused(t, server, () => bytes(one.content.readLog({ uuid: asked })), hidden);
  }
  const read = (path: string, more = {}) => bytes(ada.content.readOutput({ uuid, path, ...more }));
  const notThere = { code: 'NOT_FOUND', reason: 'PATH_NOT_FOUND' } as const;
  await refused(t, server, () => read('none'), { ...notThere, naming: '"none"' });
  await refused(t, server, () => listed(ada, uuid, 'd/none'), { ...notThere, naming: '"d/none"' });
  const bad = { code: 'INVALID_ARGUMENT', field: 'path' } as const;
  await refused(t, server, () => read('d'), { ...bad, reason: 'IS_DIRECTORY', naming: '"d"' });
  await refused(t, server, () => read(''), { ...bad, reason: 'REQUIRED' });
  await refused(t, server, () => read('d/../tool'), { ...bad, reason: 'BAD_PATH', naming: '"d/../tool"' });
  const beyond = { code: 'OUT_OF_RANGE', reason: 'OUT_OF_RANGE', naming: '11' } as const;
  await refused(t, server, () => read('tool', { offset: 11n }), beyond);
  await refused(t, server, () => bytes(ada.content.readLog({ uuid, attempt: 2 })), {
    code: 'NOT_FOUND',
    reason: 'ATTEMPT_NOT_FOUND',
    naming: '2',
  });
  const queued = uuidOf(await request(ada, { scriptParameters: { test: 'queued' } }));
  await refused(t, server, () => bytes(ada.content.readLog({ uuid: queued })), {
    code: 'FAILED_PRECONDITION',
    reason: 'NO_LOG',
  });
  await complete(runner, queued, 'sha256:elsewhere', 'sha256:elsewhere-log');
  const elsewhere = { code: 'FAILED_PRECONDITION', reason: 'NOT_HELD' } as const;
  await refused(t, server, () => listed(ada, queued), { ...elsewhere, naming: '"sha256:elsewhere"' });
  await refused(t, server, () => bytes(ada.content.readLog({ uuid: queued })), {
    ...elsewhere,
    naming: '"sha256:elsewhere-log"',
  });
  // That it is pinned is told to who may pin it.
  await ada.retention.pinJob({ uuid });
  for (const [one, told] of [
    [ada, true],
    [root, true],
    [runner, false],
  ] as const) {
    const { keeping } = (await one.jobs.getJob({ uuid })).job as Job;
    t.is(keeping?.pinnedAt !== undefined, told, one.principal);
  }
  await ada.retention.unpinJob({ uuid });
  // What was kept and is gone is told as that.
  const { hash = '' } = (await listed(ada, uuid, 'tool'))[0]?.digest ?? {};
  const path = join(server.config.data_dir, 'content', 'blobs', hash.slice(0, 2), hash);
  const kept = readFileSync(path);
  rmSync(path);
  await refused(t, server, () => read('tool'), { code: 'DATA_LOSS', reason: 'CONTENT_LOST', naming: hash });
  writeFileSync(path, kept);
  server.errors.length = 0;
});

test.serial('a claim token opens what its attempt brought, and nothing else', async (t) => {
  const { uuid, claimToken, call } = await claimed('token');
  const [own, other] = [Buffer.from(`own ${randomBytes(9)}`), Buffer.from(large)];
  const { cas, bytes: stream } = runnersContent;
  const missing = async (...blobs: Uint8Array[]) => {
    const { missingBlobDigests } = await cas.findMissingBlobs({ blobDigests: blobs.map(digestOf) }, call);
    return missingBlobDigests.map(({ hash }) => hash);
  };
  const denied = { code: 'PERMISSION_DENIED', reason: 'NO_RAW_CONTENT' } as const;
  await refused(t, server, () => cas.findMissingBlobs({ blobDigests: [digestOf(own)] }), denied);
  // The other one is there, which is not for this attempt to know.
  t.deepEqual(await missing(own, other), [sha256(own), sha256(other)]);
  const read = (data: Uint8Array) => bytes(stream.read({ resourceName: download(data) }, call));
  const notThere = { code: 'NOT_FOUND', reason: 'BLOB_NOT_FOUND' } as const;
  await refused(t, server, () => read(other), { ...notThere, naming: sha256(other) });
  await refused(t, server, () => read(own), { ...notThere, naming: sha256(own) });
  const names = upload(other);
  const far = () => stream.queryWriteStatus({ resourceName: names }, call);
  t.like(await far(), { committedSize: 0n, complete: false });
  // All of its bytes are taken, and must be its own.
  await stream.write(writes(names, other.subarray(0, 600_000), { finish: false }), call);
  t.like(await far(), { committedSize: 600_000n, complete: false });
  await stream.write(writes(names, other, { from: 600_000 }), call);
  t.deepEqual(await missing(own, other), [sha256(own)]);
  t.deepEqual(await put(call, own), [0]);
  t.deepEqual(await missing(own, other), []);
  t.true((await read(own)).equals(own));
  const found = await cas.batchReadBlobs({ digests: [own, Buffer.from('small')].map(digestOf) }, call);
  t.deepEqual(
    found.responses.map(({ status: one }) => one?.code),
    [0, 5],
  );

  // Another attempt knows nothing of it, nor does another principal, another token, or this one when it is over.
  const next = await claimed('next');
  const { missingBlobDigests } = await cas.findMissingBlobs({ blobDigests: [digestOf(own)] }, next.call);
  t.is(missingBlobDigests.length, 1);
  const ask =
    (with_: object, who = runnersContent) =>
    () =>
      who.cas.findMissingBlobs({ blobDigests: [] }, with_);
  const bad = { code: 'INVALID_ARGUMENT', reason: 'BAD_CLAIM', field: claimHeader } as const;
  await refused(t, server, ask({ metadata: { [claimHeader]: `${uuid}/zz` } }), bad);
  const wrong = { metadata: { [claimHeader]: claimText(uuid, randomBytes(32)) } };
  await refused(t, server, ask(wrong), { code: 'FAILED_PRECONDITION', reason: 'ATTEMPT_ENDED' });
  const evesContent = contentClient(server.address(), 'eve');
  await refused(t, server, ask(call, evesContent), { code: 'NOT_FOUND', reason: 'JOB_NOT_FOUND' });
  evesContent.close();
  await runner.worker.failJob({ uuid, claimToken, reason: 'X', message: 'over' });
  await refused(t, server, ask(call), { code: 'FAILED_PRECONDITION', reason: 'WRONG_STATE' });
});

test.serial(
  'a job is complete with what is there, down to the last leaf, and with what its attempt brought',
  async (t) => {
    const { uuid, claimToken, call } = await claimed('whole');
    const leaf = Buffer.from(`leaf ${randomBytes(9)}`);
    const files = [{ path: 'a/b/leaf', blob: { hash: sha256(leaf), size: leaf.length }, executable: false }];
    const { root: top, directories } = buildTree(files);
    const log = Buffer.from('log');
    const report = (more = {}) =>
      runner.worker.completeJob({ uuid, claimToken, outputDigest: tree(top), logDigest: blob(log), ...more });
    const incomplete = { code: 'FAILED_PRECONDITION', reason: 'CONTENT_INCOMPLETE' } as const;
    await refused(t, server, report, { ...incomplete, naming: top.hash });
    await put(call, ...directories.values());
    await refused(t, server, report, { ...incomplete, naming: sha256(leaf) });
    // That others have it is no help.
    const others = contentClient(server.address(), 'root');
    await others.cas.batchUpdateBlobs({ requests: [leaf, log].map((data) => ({ digest: digestOf(data), data })) });
    others.close();
    await refused(t, server, report, { ...incomplete, naming: sha256(leaf) });
    await put(call, leaf);
    await refused(t, server, report, { ...incomplete, naming: sha256(log) });
    await put(call, log);
    const wrong = { code: 'INVALID_ARGUMENT' } as const;
    const kind = { outputDigest: { ...tree(top), kind: ContentKind.BLOB } };
    await refused(t, server, () => report(kind), { ...wrong, reason: 'BAD_DIGEST', field: 'output_digest.kind' });
    const lie = { outputDigest: { ...tree(top), sizeBytes: 1n } };
    await refused(t, server, () => report(lie), { ...incomplete, naming: `${top.hash}/1` });
    const other = { output: 'sha256:other' };
    await refused(t, server, () => report(other), {
      ...wrong,
      reason: 'CONTRADICTION',
      field: 'output',
      naming: '"sha256:other"',
    });
    const { job } = await report();
    t.is(job?.output, `sha256:${top.hash}`);
    // As the first time, although it is over.
    const end = await server.end();
    t.is((await report()).job?.output, job?.output);
    t.is(await server.end(), end);
  },
);

test.serial('a tree that nobody could unpack is refused', async (t) => {
  const { uuid, claimToken, call } = await claimed('hostile');
  const data = Buffer.from('x');
  const link = directory({ symlinks: [{ name: 'l', target: '../../etc' }] });
  const outside = directory({ directories: [{ name: 'd', digest: digestOf(link) }] });
  const climbing = directory({ files: [{ name: '..', digest: digestOf(data) }] });
  const unsorted = directory({ files: ['b', 'a'].map((name) => ({ name, digest: digestOf(data) })) });
  await put(call, data, link, outside, climbing, unsorted);
  let bomb = data as Uint8Array;
  for (let i = 0; i < 8; i++) {
    const names = Array.from({ length: 10 }, (_, n) => ({ name: `n${n}`, digest: digestOf(bomb) }));
    bomb = directory(i === 0 ? { files: names } : { directories: names });
    await put(call, bomb);
  }
  const report = (top: Uint8Array) => () => {
    return runner.worker.completeJob({ uuid, claimToken, outputDigest: { ...digestOf(top), kind: ContentKind.TREE } });
  };
  const bad = { code: 'INVALID_ARGUMENT', reason: 'BAD_TREE' } as const;
  await refused(t, server, report(outside), { ...bad, naming: '"d/l"' });
  await refused(t, server, report(climbing), { ...bad, naming: '".."' });
  await refused(t, server, report(unsorted), { ...bad, naming: 'not sorted' });
  await refused(t, server, report(data), { ...bad, naming: sha256(data) });
  const large = { code: 'INVALID_ARGUMENT', reason: 'TREE_TOO_LARGE' } as const;
  // That takes a while, in which the server records what it records anyway.
  const error = await failure(t, report(bomb));
  t.deepEqual([status[error.code], error.reason], [large.code, large.reason], error.message);
  t.true(error.message.includes('1000000 entries'), error.message);
});

const memoir = (...args: string[]) =>
  runMemoir(args, { env: { MEMOIR_SERVER: server.address(), MEMOIR_PRINCIPAL: 'ada' } });

/** Everything in a directory: what files hold and whether they may be run, and where links lead. */
function filesIn(top: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name of readdirSync(top, { recursive: true, encoding: 'utf8' })) {
    const path = join(top, name);
    const stat = lstatSync(path);
    if (stat.isSymbolicLink()) found[name] = `-> ${readlinkSync(path)}`;
    else if (stat.isFile()) found[name] = `${(stat.mode & 0o111) === 0 ? '' : '*'}${readFileSync(path, 'utf8')}`;
  }
  return found;
}

const made = {
  'd/e/small': 'small',
  'd/e/up': '-> ../../tool',
  large,
  link: '-> d/e/small',
  nothing: '',
  tool: '*#!/bin/sh\n',
};

test.serial('the command lists, prints and fetches what a job made', async (t) => {
  const { uuid } = await run('make.sh', { scriptParameters: { test: 'command' } });
  const list = await memoir('output', 'list', uuid);
  t.is(list.code, 0, list.err);
  t.deepEqual(
    list.out
      .trimEnd()
      .split('\n')
      .map((line) => line.trim()),
    [
      'd/',
      'd/e/',
      '5 B  d/e/small',
      'd/e/up -> ../../tool',
      '1.4 MB  large',
      'link -> d/e/small',
      '0 B  nothing',
      '10 B  tool*',
    ],
  );
  const json = await memoir('output', 'list', uuid.slice(0, 13), 'd', '--top', '--json');
  t.like(JSON.parse(json.out), { path: 'd/e', kind: 'KIND_DIRECTORY' });
  t.is((await memoir('output', 'cat', uuid, 'link')).out, 'small');
  t.is((await memoir('output', 'cat', uuid, 'large', '--offset', '1399990')).out, large.slice(1_399_990));
  t.is((await memoir('output', 'log', uuid)).out, 'made\n');

  const to = join(dir, 'to');
  const get = (...more: string[]) => memoir('output', 'get', uuid, '--to', to, ...more);
  const got = await get();
  t.is(got.code, 0, got.err);
  t.is(got.err, `6 files, 1.4 MB, in ${JSON.stringify(to)}\n`);
  t.deepEqual(filesIn(to), made);
  // What is there stays as it is.
  const before = statSync(join(to, 'large'));
  t.is((await get()).code, 0);
  t.is(statSync(join(to, 'large')).ino, before.ino);
  // A part of it.
  const part = join(dir, 'part');
  t.is((await memoir('output', 'get', uuid, 'd/e', '--to', part)).code, 0);
  t.deepEqual(filesIn(part), { 'd/e/small': 'small', 'd/e/up': '-> ../../tool' });

  // What lies there and is another is replaced only if that is wanted.
  writeFileSync(join(to, 'tool'), 'mine');
  const other = await get();
  t.is(other.code, 4, other.err);
  t.true(other.err.includes('tool') && other.err.includes('--overwrite'), other.err);
  t.is(readFileSync(join(to, 'tool'), 'utf8'), 'mine');
  t.is((await get('--overwrite')).code, 0);
  t.deepEqual(filesIn(to), made);
  // Nothing is written through a link, wanted or not.
  const outside = join(dir, 'outside');
  mkdirSync(outside);
  rmSync(join(to, 'd'), { recursive: true });
  symlinkSync(outside, join(to, 'd'));
  rmSync(join(to, 'nothing'));
  writeFileSync(join(outside, 'file'), 'theirs');
  symlinkSync(join(outside, 'file'), join(to, 'nothing'));
  const through = await get('--overwrite');
  t.is(through.code, 4, through.err);
  t.true(through.err.includes('is a link'), through.err);
  rmSync(join(to, 'd'));
  t.is((await get('--overwrite')).code, 0);
  t.deepEqual(filesIn(to), made);
  t.deepEqual(filesIn(outside), { file: 'theirs' });
});

test.serial('a file that came in part is gone on with, and one that was spoilt comes right', async (t) => {
  const { uuid } = await run('make.sh', { scriptParameters: { test: 'parts' } });
  const to = join(dir, 'parts');
  const aside = `.memoir-${sha256(Buffer.from(`large\0${sha256(Buffer.from(large))}`)).slice(0, 32)}.part`;
  const proxy = await cuttingProxy(server.address(), Number.POSITIVE_INFINITY, 0);
  for (const left of [large.slice(0, 1_000_000), 'spoilt'.repeat(1_000), `${large}more`]) {
    rmSync(to, { recursive: true, force: true });
    mkdirSync(to);
    writeFileSync(join(to, aside), left);
    const before = proxy.received();
    const got = await memoir('output', 'get', uuid, 'large', '--to', to, '--server', proxy.address);
    t.is(got.code, 0, got.err);
    if (large.startsWith(left)) t.true(proxy.received() - before < 600_000, 'only the rest came');
    t.deepEqual(filesIn(to), { large });
  }
  await proxy.close();
});

test.serial('what a server tells that is no output is not made', (t) => {
  const file = (path: string, digest = { hash: 'a'.repeat(64) }) =>
    create(OutputEntrySchema, { path, kind: OutputEntry_Kind.FILE, digest });
  const link = (path: string, target: string) =>
    create(OutputEntrySchema, { path, kind: OutputEntry_Kind.SYMLINK, target });
  for (const entries of [
    [file('../a')],
    [file('/a')],
    [file('a/../../b')],
    [file('a\0')],
    [file('a', { hash: '../x' })],
    [file('a'), file('a')],
    [file('a'), file('a/b')],
    [link('a', 'b'), file('a/b')],
    [link('a', '/etc')],
    [link('a', '../b')],
    [link('d/a', '../../b')],
    [create(OutputEntrySchema, { path: 'a' })],
  ]) {
    t.throws(() => checkEntries(entries), { message: /is none/ }, JSON.stringify(entries[0]?.path));
  }
  t.notThrows(() => checkEntries([file('d/a'), link('d/l', '../x')]));
});

test.serial('one command gives the files, from a new job and from a past one', async (t) => {
  const of = ['--repository', 'project', '--script', 'make.sh', '-p', 'test="run"', '--script-version', 'main'];
  const first = join(dir, 'first');
  const going = memoir('run', ...of, '--to', first);
  const queued = async () => {
    const { jobs } = await ada.jobs.listJobs({});
    return jobs.find(({ script, state, scriptParameters }) => {
      return script === 'make.sh' && state === JobState.QUEUED && scriptParameters?.test === 'run';
    });
  };
  await until('the job is queued', queued);
  await workOnce({ address: server.address(), principal: 'runner', repository: ['project', repository.path] });
  const ran = await going;
  t.is(ran.code, 0, ran.err);
  t.regex(ran.out, /^new /);
  t.deepEqual(filesIn(first), made);
  const second = join(dir, 'second');
  const again = await memoir('run', ...of, '--to', second);
  t.is(again.code, 0, again.err);
  t.regex(again.out, /^reused /);
  t.deepEqual(filesIn(second), made);
});

test.serial('an upload whose connection breaks goes on where it was', async (t) => {
  const size = 24 * 1024 * 1024;
  const data = randomBytes(size);
  const small = Array.from({ length: 50 }, () => randomBytes(1_000));
  const proxy = await cuttingProxy(server.address(), 10_000_000, 2);
  const remote = remoteContent(proxy.address, 'root');
  const sources = [data, ...small].map((from) => ({ hash: sha256(from), size: from.length, from }));
  await uploadBlobs(remote, sources, {}, new AbortController().signal);
  t.is(proxy.cuts(), 2);
  // What was in flight is sent again, and not all of it.
  t.true(proxy.sent() < size * 1.75, `${proxy.sent()} bytes were sent`);
  const there = contentClient(server.address(), 'root');
  t.deepEqual(
    (await there.cas.findMissingBlobs({ blobDigests: [data, ...small].map(digestOf) })).missingBlobDigests,
    [],
  );
  t.true((await bytes(there.bytes.read({ resourceName: download(data) }))).equals(data));
  there.close();
  remote.close();
  await proxy.close();
});

test.serial('an upload that was killed sends what is not there yet when it is begun again', async (t) => {
  const size = 2 * 1024 * 1024;
  const blobs = Array.from({ length: 12 }, () => randomBytes(size));
  const sources = blobs.map((from) => ({ hash: sha256(from), size, from }));
  const proxy = await cuttingProxy(server.address(), Number.POSITIVE_INFINITY, 0);
  const killed = new AbortController();
  const first = remoteContent(proxy.address, 'root');
  const uploading = uploadBlobs(first, sources, {}, killed.signal);
  // At most four blobs are under way, so that some are there by then.
  await until('most of it went', () => proxy.sent() > 8 * size);
  killed.abort(new Error('killed'));
  await t.throwsAsync(uploading, { message: 'killed' });
  first.close();
  const before = proxy.sent();
  const second = remoteContent(proxy.address, 'root');
  await uploadBlobs(second, sources, {}, new AbortController().signal);
  t.true(proxy.sent() - before < 9 * size, `${proxy.sent() - before} bytes were sent again`);
  const left = await second.cas.findMissingBlobs({ blobDigests: blobs.map(digestOf) });
  t.deepEqual(left.missingBlobDigests, []);
  second.close();
  await proxy.close();
});

test.serial('a file that changes while it is uploaded is told', async (t) => {
  const remote = remoteContent(server.address(), 'root');
  for (const size of [1_000, 1_000_000]) {
    const [named, sent] = [randomBytes(size), randomBytes(size)];
    for (const from of [sent, named.subarray(1)]) {
      const source = { hash: sha256(named), size, from };
      await t.throwsAsync(uploadBlobs(remote, [source], {}, new AbortController().signal), {
        name: 'ChangedMeanwhile',
      });
    }
  }
  remote.close();
});

test.serial('what a server lost of an upload is uploaded again before the job is complete', async (t) => {
  const { job, consistencyToken } = await request(ada, { script: 'make.sh', scriptParameters: { test: 'again' } });
  await ada.jobs.getJob({ uuid: job?.uuid ?? '', consistencyToken });
  const hash = sha256(Buffer.from('small'));
  const path = join(server.config.data_dir, 'content', 'blobs', hash.slice(0, 2), hash);
  let reports = 0;
  await workOnce({
    address: server.address(),
    principal: 'runner',
    repository: ['project', repository.path],
    beforeReport: () => void (++reports === 1 && rmSync(path)),
  });
  t.is(reports, 2);
  t.is((await getJob(job?.uuid ?? '')).state, JobState.COMPLETE);
  t.is(readFileSync(path, 'utf8'), 'small');
});

test.serial('after a restart an attempt brings again what the server forgot that it brought', async (t) => {
  const { uuid, claimToken, call } = await claimed('restart');
  const data = randomBytes(100);
  await put(call, data);
  await server.restart();
  const [next, content] = [server.as('runner'), contentClient(server.address(), 'runner')];
  const empty = buildTree([]).root;
  const report = () => next.worker.completeJob({ uuid, claimToken, outputDigest: tree(empty), logDigest: blob(data) });
  await refused(t, server, report, { code: 'FAILED_PRECONDITION', reason: 'CONTENT_INCOMPLETE', naming: sha256(data) });
  t.is((await content.cas.findMissingBlobs({ blobDigests: [digestOf(data)] }, call)).missingBlobDigests.length, 1);
  await content.cas.batchUpdateBlobs({ requests: [{ digest: digestOf(data), data }] }, call);
  const { job } = await report();
  t.is(job?.outputV1, emptyOutput);
  content.close();
});

test.serial('where log format 4 may not be recorded yet, outputs stay with the worker', async (t) => {
  const settings = { log_format: 3, rpc: { ...server.config.rpc, max_request_bytes: 64 * 1024 } };
  const old = await startTestServer({ repositories: { project: repository.path }, settings });
  t.teardown(old.dispose);
  const client = old.as('ada');
  t.false((await client.content.describeContent({})).takesOutputs);
  const uuid = uuidOf(await request(client));
  await client.worker.claimJob({ uuid });
  const outputDigest = tree(buildTree([]).root);
  const report = () => client.worker.completeJob({ uuid, outputDigest });
  await refused(t, old, report, { code: 'FAILED_PRECONDITION', reason: 'CONTENT_NOT_TAKEN' });
  const args = ['worker', '--repository', `project=${repository.path}`, '--work-dir', dir, '--once'];
  // Uploads fit into what requests may have.
  const remote = remoteContent(old.address(), 'ada');
  const sizes = [300_000, 40_000, 20_000, ...Array.from({ length: 600 }, () => 20)];
  const blobs = sizes.map((size) => randomBytes(size)).map((from) => ({ hash: sha256(from), size: from.length, from }));
  await uploadBlobs(remote, blobs, {}, AbortSignal.timeout(20_000));
  remote.close();
  const worker = await runMemoir(args, { env: { MEMOIR_SERVER: old.address(), MEMOIR_PRINCIPAL: 'ada' } });
  t.is(worker.code, 2, worker.err);
  t.true(worker.err.includes('--store-dir is required here'), worker.err);
});
