import { randomBytes } from 'node:crypto';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { type Decision, Rule } from '../../gen/memoir/jobs/v1/decision_pb.js';
import { ContentKind } from '../../gen/memoir/jobs/v1/digest_pb.js';
import { type Job, JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { claimHeader, claimText } from '../../src/rpc/claim-header.js';
import { openSandbox } from '../../src/worker/run/sandbox.js';
import { audited } from '../audit/scene.js';
import { collect } from '../contract/events.js';
import { runMemoir } from '../support/command.js';
import { contentClient, digestOf, directory, download, sha256 } from '../support/content.js';
import { makeRepository } from '../support/git-repository.js';
import { failure, refused } from '../support/refused.js';
import { wanting } from '../support/required.js';
import { complete, fail, find, request, uuidOf } from '../support/runs.js';
import { startTestServer } from '../support/server.js';
import { type TestWorker, workOnce } from '../support/worker.js';

const repository = makeRepository();
repository.commit({
  'run.sh': [
    '#!/bin/sh',
    'cat "$MEMOIR_PARAMETERS" > "$MEMOIR_OUTPUT/parameters"',
    'test -z "$MEMOIR_INPUTS" || { cp "$MEMOIR_INPUTS_JSON" "$MEMOIR_OUTPUT/where"; cd "$MEMOIR_INPUTS"; find . -printf "%m %y %p\\n" | sort > "$MEMOIR_OUTPUT/found"; cp -rL . "$MEMOIR_OUTPUT/copy"; chmod -R u+w "$MEMOIR_OUTPUT"; }',
  ].join('\n'),
  'odd.sh':
    '#!/bin/sh\necho hello; cd "$MEMOIR_OUTPUT"; echo good > good; mkfifo pipe; grep -q large "$MEMOIR_PARAMETERS" && head -c 2000000 /dev/zero > much; true\n',
  'tree.sh': [
    '#!/bin/sh',
    'find . -mindepth 1 -exec stat -c "%n %i %a %u %s %z" {} + | sort > "$MEMOIR_OUTPUT/found"; cat lib/* | sort > "$MEMOIR_OUTPUT/whole"',
    'case "$(cat "$MEMOIR_PARAMETERS")" in *write*) touch -r lib/f1 "$MEMOIR_TMP/stamp"; printf "spoilt\\n" > lib/f1; touch -r "$MEMOIR_TMP/stamp" lib/f1;;',
    '*add*) mkdir new; rmdir new;; esac',
  ].join('\n'),
  ...Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`lib/f${i}`, `file ${i}\n`])),
  'make.sh': '#!/bin/sh\nmkdir "$MEMOIR_OUTPUT/d"; echo made > "$MEMOIR_OUTPUT/d/made"; echo log\n',
  'attack.sh': [
    '#!/bin/sh',
    'cd "$MEMOIR_INPUTS"; chmod -R u+w .; for file in $(find . -type f); do echo spoilt > "$file"; done',
    'for file in $(find . -type f); do echo spoilt > new; mv new "$file"; done; rm -rf ./*; echo spoilt > new',
    // What a script of the same user can reach beside its own: the cache itself.
    'cd "$CACHE"; i=0; for file in *; do i=$((i+1)); size=$(stat -c %s "$file"); chmod u+w "$file"',
    'case $i in 1) head -c "$size" /dev/zero > "$file";; 2) cp -p "$file" "$CACHE/x"; head -c "$size" /dev/zero > x; touch -r "$file" x; mv -f x "$file";;',
    '3) touch -r "$file" ../stamp; head -c "$size" /dev/zero > "$file"; touch -r ../stamp "$file";; 4) rm "$file"; mkdir "$file";; 5) rm "$file"; ln -s /etc/passwd "$file";; esac; done; true',
  ].join('\n'),
});
const dir = mkdtempSync(join(tmpdir(), 'memoir-inputs-'));
const policy = join(dir, 'policy.toml');
writeFileSync(
  policy,
  [
    'ada submitter project',
    'carl submitter project',
    'bob submitter other',
    'runner worker project',
    'eve reader project',
    'root admin **',
  ]
    .map((grant) => grant.split(' '))
    .map(([to, role, of]) => `[[grants]]\nto = ["${to}"]\nroles = ["${role}"]\nrepositories = ["${of}"]\n`)
    .join('\n'),
);
const server = await startTestServer({
  repositories: { project: repository.path, other: repository.path },
  settings: { policy },
});
let [ada, bob, root] = ['ada', 'bob', 'root'].map(server.as) as [Clients, Clients, Clients];
type Clients = ReturnType<typeof server.as>;

test.after.always(async () => {
  await server.dispose();
  repository.dispose();
  rmSync(dir, { recursive: true, force: true });
});

const local = join(dir, 'reads');
mkdirSync(join(local, 'lane 1', 'empty'), { recursive: true });
const large = randomBytes(400_000);
writeFileSync(join(local, 'lane 1', 'a.fastq'), large);
writeFileSync(join(local, 'tool'), '#!/bin/sh\necho hello\n', { mode: 0o755 });
writeFileSync(join(local, 'nothing'), '');
symlinkSync('lane 1/a.fastq', join(local, 'latest'));

type Raw = ReturnType<typeof contentClient>;
const raw = (who: string): Raw => contentClient(server.address(), who);
const as = (who: string) => ({ env: { MEMOIR_SERVER: server.address(), MEMOIR_PRINCIPAL: who } });

async function put(who: string, ...args: string[]): Promise<{ address: string; parameter: string }> {
  const said = await runMemoir(['put', '--json', ...args], as(who));
  if (said.code !== 0) throw new Error(said.err);
  return JSON.parse(said.out);
}

async function ran(who: Clients, uuid: string, more: Partial<TestWorker> = {}): Promise<Job> {
  await who.jobs.getJob({ uuid });
  const principal = more.principal ?? 'runner';
  await workOnce({ address: server.address(), principal, repository: ['project', repository.path], ...more });
  return (await who.jobs.getJob({ uuid, consistencyToken: String(await server.end()) })).job as Job;
}

async function fileOf(who: Clients, uuid: string, path: string): Promise<Buffer> {
  return Buffer.concat((await collect(who.content.readOutput({ uuid, path }))).map(({ data }) => data));
}

test.serial('what was put is an input: recorded, told, and staged read-only under its names', async (t) => {
  const said = await runMemoir(['put', local, join(local, 'tool')], as('ada'));
  t.is(said.code, 0, said.err);
  const [tree = '', paste = '', , tool = ''] = said.out.trimEnd().split('\n');
  const [address = ''] = tree.split(' ');
  t.is(paste, `  -p NAME=${address}`);
  t.regex(tool, /^ {2}-p NAME=sha256:[0-9a-f]{64}\/tool$/);
  // The same again sends nothing, and gives the same.
  t.is((await put('ada', local)).address, address);

  const checksum = `sha256:${sha256(Buffer.from('nobody put this'))}`;
  const parameters = { a: [{ 'b/c~': `${address}/lane 1` }, address, `${address}/latest`], sum: checksum };
  const answer = await find(ada, { scriptParameters: parameters });
  const recorded = answer.job?.inputs ?? [];
  t.deepEqual(
    recorded.map(({ pointer, path, content, digest }) => [pointer, path, content?.kind, digest?.kind]),
    [
      ['/a/0/b~1c~0', 'lane 1', ContentKind.TREE, ContentKind.TREE],
      ['/a/1', '', ContentKind.TREE, ContentKind.TREE],
      ['/a/2', 'latest', ContentKind.TREE, ContentKind.BLOB],
    ],
  );
  t.is(recorded[2]?.digest?.hash, sha256(large));
  const job = await ran(ada, uuidOf(answer));
  t.is(job.state, JobState.COMPLETE, job.failureMessage);
  t.deepEqual(job.inputs, recorded);
  const hex = address.slice('sha256:'.length);
  t.is(
    (await fileOf(ada, job.uuid, 'found')).toString(),
    [
      '444 f ./@/lane 1/a.fastq',
      '444 f ./@/nothing',
      '555 d .',
      '555 d ./@',
      '555 d ./@/lane 1',
      '555 f ./@/tool',
      '777 l ./@/latest',
      '',
    ]
      .join('\n')
      .replaceAll('@', hex),
  );
  t.true(large.equals(await fileOf(ada, job.uuid, `copy/${hex}/latest`)));
  const where = JSON.parse((await fileOf(ada, job.uuid, 'where')).toString());
  t.deepEqual(Object.keys(where).sort(), ['/a/0/b~1c~0', '/a/1', '/a/2']);
  t.true(where['/a/0/b~1c~0'].endsWith(`/inputs/${hex}/lane 1`));
  t.deepEqual(JSON.parse((await fileOf(ada, job.uuid, 'parameters')).toString()), parameters);
  const shown = await runMemoir(['get', job.uuid], as('ada'));
  t.true(shown.out.includes(`directory, ${address}/lane 1`), shown.out);
  // It is the answer to the same request, whoever may read it.
  t.true((await find(ada, { scriptParameters: parameters })).reused);
});

test.serial('submit puts what it is told to, and a subtree or a file alone is given under its path', async (t) => {
  const file = join(dir, 'b.txt');
  writeFileSync(file, 'bee');
  const submitted = await runMemoir(
    [
      'submit',
      '--repository',
      'project',
      '--script',
      'run.sh',
      '--script-version',
      'main',
      '--json',
      '-p',
      `b=@put:${file}`,
      '-p',
      'c="@put:no"',
    ],
    as('ada'),
  );
  t.is(submitted.code, 0, submitted.err);
  const job = await ran(ada, JSON.parse(submitted.out).job.uuid);
  t.is(job.state, JobState.COMPLETE, job.failureMessage);
  const { b, c } = job.scriptParameters as Record<string, string>;
  t.regex(b ?? '', /^sha256:[0-9a-f]{64}\/b\.txt$/);
  t.is(c, '@put:no');
  t.is((await fileOf(ada, job.uuid, `copy/${b?.slice('sha256:'.length)}`)).toString(), 'bee');
  const { address } = await put('ada', local);
  const bare = await put('ada', '--bare', file);
  const answer = await request(ada, { scriptParameters: { lane: `${address}/lane 1`, bare: bare.address } });
  const sub = await ran(ada, uuidOf(answer));
  t.is(sub.state, JobState.COMPLETE, sub.failureMessage);
  const hex = address.slice('sha256:'.length);
  t.true(large.equals(await fileOf(ada, sub.uuid, `copy/${hex}/lane 1/a.fastq`)));
  t.is((await fileOf(ada, sub.uuid, `copy/${bare.address.slice('sha256:'.length)}`)).toString(), 'bee');
  t.false((await fileOf(ada, sub.uuid, 'found')).toString().includes('tool'));
  // Nothing is uploaded to explain, and what nobody put is refused, not taken for text.
  writeFileSync(file, 'other bytes');
  const explained = await runMemoir(
    ['explain', '--repository', 'project', '--script', 'run.sh', '-p', `b=@put:${file}`],
    as('ada'),
  );
  t.regex(explained.err, /UNKNOWN_INPUT/);
});

test.serial('outputs and logs of jobs are inputs for who may read the job, and text for all others', async (t) => {
  const made = await ran(ada, uuidOf(await find(ada, { script: 'make.sh' })));
  const parameters = { from: `${made.output}/d/made`, log: made.log };
  const job = await ran(ada, uuidOf(await find(ada, { scriptParameters: parameters })));
  t.is(job.state, JobState.COMPLETE, job.failureMessage);
  t.deepEqual(
    job.inputs.map(({ job: by }) => by),
    [made.uuid, made.uuid],
  );
  t.is((await fileOf(ada, job.uuid, `copy/${made.output.slice(7)}/d/made`)).toString(), 'made\n');
  t.is((await fileOf(ada, job.uuid, `copy/${made.log.slice(7)}`)).toString(), 'log\n');

  const mine = await put('ada', join(local, 'tool'));
  for (const text of [parameters.from, mine.parameter]) {
    const hidden = { repository: 'other', scriptParameters: { from: text } };
    const answer = await request(bob, hidden);
    t.deepEqual(answer.job?.inputs, [], text);
    await refused(t, server, () => request(bob, { ...hidden, inputs: ['/from'] }), {
      code: 'INVALID_ARGUMENT',
      reason: 'UNKNOWN_INPUT',
      field: 'inputs',
      naming: text.slice(0, 71),
    });
  }
  // By the job that the root requests of it, bob knows that it is one, but not of which job it came.
  const ofRoot = await request(root, { repository: 'other', scriptParameters: parameters });
  t.is(ofRoot.job?.inputs[0]?.job, made.uuid);
  const seen = (await bob.jobs.getJob({ uuid: uuidOf(ofRoot), consistencyToken: ofRoot.consistencyToken })).job;
  t.deepEqual(
    seen?.inputs.map(({ pointer, job: by }) => [pointer, by]),
    [
      ['/from', ''],
      ['/log', ''],
    ],
  );
  const told = await collect(bob.history.readHistory({ uuid: uuidOf(ofRoot) }));
  t.false(JSON.stringify(told, (_, value) => (typeof value === 'bigint' ? String(value) : value)).includes(made.uuid));
});

/** Puts bytes that nobody knows of, as a principal, or gives them to be put later. */
function secret(): { readonly address: string; put(who: string, clients: Clients): Promise<void> } {
  const blob = randomBytes(100);
  const digest = digestOf(blob);
  return {
    address: `sha256:${digest.hash}`,
    async put(who, clients) {
      const { cas, close } = raw(who);
      await cas.batchUpdateBlobs({ requests: [{ digest, data: blob }] });
      close();
      await clients.content.putContent({ digest: { ...digest, kind: ContentKind.BLOB } });
    },
  };
}

const rulesOf = ({ decision }: { readonly decision?: Decision | undefined }) =>
  decision?.candidates.map(({ ruledOutBy }) => Rule[ruledOutBy]);

test.serial('a job that ran without an input is no answer to who may know that, and is to who may not', async (t) => {
  const [carl, runner, eve] = ['carl', 'runner', 'eve'].map(server.as) as [Clients, Clients, Clients];
  const reads = secret();
  const scriptParameters = { reads: reads.address, n: ['x'] };
  // From before servers had it, no job had a choice.
  const early = uuidOf(await find(carl, { scriptParameters: { ...scriptParameters, early: true } }));
  await complete(runner, early, 'sha256:early');
  await reads.put('ada', ada);
  t.is(uuidOf(await find(ada, { scriptParameters: { ...scriptParameters, early: true } })), early);

  const text = await find(carl, { scriptParameters });
  t.deepEqual(text.job?.inputs, []);
  const asked = { repository: 'project', script: 'run.sh', scriptVersion: 'main', scriptParameters };
  const queued = await ada.jobs.explainReuse({ request: asked });
  t.deepEqual(rulesOf(queued), ['INPUTS']);
  t.is(queued.decision?.candidates[0]?.detail, 'it is to run without the input at "/reads"');
  await complete(runner, uuidOf(text), 'sha256:text');
  const made = await find(ada, { scriptParameters });
  t.false(made.reused);
  t.is(made.job?.inputs[0]?.pointer, '/reads');
  t.is(made.decision?.candidates[0]?.detail, 'it ran without the input at "/reads"');
  await complete(runner, uuidOf(made), 'sha256:made');
  const filters = ['repository = project', 'script = run.sh'].map((one) => {
    const [attribute = '', operator = '', value = ''] = one.split(' ');
    return { attribute, operator, operand: { kind: { case: 'stringValue' as const, value } } };
  });
  for (const more of [{}, { inputs: ['/reads'] }, { filters }]) {
    const again = await find(ada, { scriptParameters, ...more });
    t.is(uuidOf(again), uuidOf(made), JSON.stringify(more));
    t.deepEqual(rulesOf(again), ['INPUTS', 'UNSPECIFIED']);
  }
  t.is(uuidOf(await find(ada, { scriptParameters, onlyNamedInputs: true })), uuidOf(text));
  t.is(uuidOf(await find(carl, { scriptParameters })), uuidOf(text));
  // Where there is one with the input alone, that is an answer to everybody.
  const more = { scriptParameters: { ...scriptParameters, more: true } };
  const first = uuidOf(await find(ada, more));
  t.is(uuidOf(await find(carl, more)), first);
  await complete(runner, first, 'sha256:more');
  t.is(uuidOf(await find(carl, more)), first);

  // Of an answer nobody else is told which content its caller knew; of a new job its inputs tell.
  const told = async (who: Clients) =>
    (await collect(who.history.readHistory({ uuid: uuidOf(made) }))).flatMap(({ event }) => {
      const of = event?.event;
      return of?.case === 'jobReused' || of?.case === 'jobRequested' ? [`${of.case} ${rulesOf(of.value)}`] : [];
    });
  const alone = ['jobRequested INPUTS', ...Array(3).fill('jobReused UNSPECIFIED')];
  t.deepEqual(await told(eve), alone);
  t.deepEqual(await told(carl), alone);
  t.deepEqual(await told(ada), ['jobRequested INPUTS', ...Array(3).fill('jobReused INPUTS,UNSPECIFIED')]);
});

test.serial(
  'what the caller knew then decides as of then, a retry keeps its inputs, and a lost input fails no answer',
  async (t) => {
    const [carl, runner] = ['carl', 'runner'].map(server.as) as [Clients, Clients];
    const reads = secret();
    await reads.put('root', root);
    const scriptParameters = { reads: reads.address };
    const text = uuidOf(await find(carl, { scriptParameters }));
    await complete(runner, text, 'sha256:text');
    t.is(uuidOf(await find(ada, { scriptParameters })), text);
    const before = BigInt(await server.end());
    await reads.put('ada', ada);
    const request = { repository: 'project', script: 'run.sh', scriptVersion: 'main', scriptParameters };
    const explained = async (position?: bigint) =>
      rulesOf(
        await ada.jobs.explainReuse({
          request,
          ...(position !== undefined && { asOf: { moment: { case: 'position' as const, value: position } } }),
        }),
      );
    t.deepEqual(await explained(), ['INPUTS']);
    t.deepEqual(await explained(before), ['UNSPECIFIED']);
    t.deepEqual(await explained(BigInt(await server.end())), ['INPUTS']);
    const failed = uuidOf(await find(ada, { scriptParameters }));
    await fail(runner, failed);
    const again = await ada.jobs.retryJob({ uuid: failed });
    t.not(again.job?.uuid, text);
    t.is(again.job?.inputs.length, 1);
    await complete(runner, uuidOf(again), 'sha256:again');
    // Its bytes are needed for new jobs alone.
    const hash = reads.address.slice('sha256:'.length);
    rmSync(join(server.config.data_dir, 'content', 'blobs', hash.slice(0, 2), hash));
    t.is(uuidOf(await find(ada, { scriptParameters })), uuidOf(again));
    await ada.jobs.deleteJob({ uuid: uuidOf(again) });
    t.is((await failure(t, () => find(ada, { scriptParameters }))).reason, 'INPUT_LOST');
  },
);

test.serial('a request says itself what its inputs are', async (t) => {
  const { address } = await put('ada', local);
  const scriptParameters = { a: address, b: `${address}/tool`, c: 'sha256:short', n: 1 };
  const inputsOf = async (more: object) =>
    (await request(ada, { scriptParameters, ...more })).job?.inputs.map(({ pointer }) => pointer);
  t.deepEqual(await inputsOf({}), ['/a', '/b']);
  t.deepEqual(await inputsOf({ inputs: ['/b'] }), ['/a', '/b']);
  t.deepEqual(await inputsOf({ inputs: ['/b'], onlyNamedInputs: true }), ['/b']);
  t.deepEqual(await inputsOf({ onlyNamedInputs: true }), []);
  for (const pointer of ['/c', '/n', '/z', '', 'a', '/a/length']) {
    await refused(t, server, () => inputsOf({ inputs: [pointer] }), {
      code: 'INVALID_ARGUMENT',
      reason: 'BAD_INPUT',
      field: 'inputs[0]',
      naming: JSON.stringify(pointer),
    });
  }
  await refused(t, server, () => request(ada, { scriptParameters: { a: `${address}/lane 2` } }), {
    code: 'INVALID_ARGUMENT',
    reason: 'INPUT_NOT_FOUND',
    field: 'script_parameters',
    naming: 'lane 2',
  });
  // No paths of a tree: texts like any other.
  for (const odd of [`${address}/`, `${address}/..`, `${address}/a//b`, `${address}x`, ` ${address}`]) {
    t.deepEqual((await request(ada, { scriptParameters: { odd } })).job?.inputs, []);
  }
});

test.serial('who put something has it, also from a server that started since; nobody else does', async (t) => {
  const blob = randomBytes(1_000);
  const digest = digestOf(blob);
  const [adas, bobs, eves] = ['ada', 'bob', 'eve'].map(raw) as [Raw, Raw, Raw];
  const missing = async (who: Raw) =>
    (await who.cas.findMissingBlobs({ blobDigests: [digest] })).missingBlobDigests.length;
  t.is(await missing(adas), 1);
  await adas.cas.batchUpdateBlobs({ requests: [{ digest, data: blob }] });
  t.deepEqual([await missing(adas), await missing(bobs)], [0, 1]);
  await refused(t, server, () => bob.content.putContent({ digest: { ...digest, kind: ContentKind.BLOB } }), {
    code: 'FAILED_PRECONDITION',
    reason: 'CONTENT_INCOMPLETE',
    naming: digest.hash,
  });
  const denied = { code: 'PERMISSION_DENIED', reason: 'NO_RAW_CONTENT' } as const;
  await refused(t, server, () => missing(eves), denied);
  await refused(
    t,
    server,
    () => server.as('eve').content.putContent({ digest: { ...digest, kind: ContentKind.BLOB } }),
    denied,
  );
  await ada.content.putContent({ digest: { ...digest, kind: ContentKind.BLOB } });
  const end = await server.end();
  await ada.content.putContent({ digest: { ...digest, kind: ContentKind.BLOB } });
  t.is(await server.end(), end);
  // Whoever brings it too may use it too, and is recorded.
  await bobs.cas.batchUpdateBlobs({ requests: [{ digest, data: blob }] });
  await bob.content.putContent({ digest: { ...digest, kind: ContentKind.BLOB } });
  t.is(await server.end(), end + 1);
  const { address } = await put('ada', local);
  for (const one of [adas, bobs, eves]) one.close();
  await server.restart();
  [ada, bob, root] = ['ada', 'bob', 'root'].map(server.as) as [Clients, Clients, Clients];
  const [again, others] = ['ada', 'bob'].map(raw) as [Raw, Raw];
  try {
    const { responses } = await again.cas.batchReadBlobs({ digests: [digest] });
    t.true(blob.equals(responses[0]?.data ?? new Uint8Array()));
    t.is(
      (await request(bob, { repository: 'other', scriptParameters: { it: `sha256:${digest.hash}` } })).job?.inputs
        .length,
      1,
    );
    // Of a tree all that hangs from it, once it is asked for.
    const tree = {
      hash: address.slice(7),
      sizeBytes: (await request(ada, { scriptParameters: { address } })).job?.inputs[0]?.digest?.sizeBytes ?? 0n,
    };
    t.is((await collect(again.cas.getTree({ rootDigest: tree }))).flatMap(({ directories }) => directories).length, 2);
    const pieces = await collect(again.bytes.read({ resourceName: download(large) }));
    t.true(large.equals(Buffer.concat(pieces.map(({ data }) => data))));
    const error = await failure(t, () => collect(others.bytes.read({ resourceName: download(large) })));
    t.is(error.reason, 'BLOB_NOT_FOUND');
  } finally {
    again.close();
    others.close();
  }
});

test.serial('an attempt reaches what its job is given, and nothing else', async (t) => {
  const { address } = await put('ada', local);
  const other = randomBytes(100);
  const adas = raw('ada');
  await adas.cas.batchUpdateBlobs({ requests: [{ digest: digestOf(other), data: other }] });
  adas.close();
  const runner = server.as('runner');
  const uuid = uuidOf(await request(ada, { scriptParameters: { lane: `${address}/lane 1` } }));
  const claimToken = Uint8Array.from(randomBytes(32));
  await runner.worker.claimJob({ uuid, claimToken });
  const call = { metadata: { [claimHeader]: claimText(uuid, claimToken) } };
  const runners = raw('runner');
  try {
    const tool = readFileSync(join(local, 'tool'));
    const asked = [large, tool, other].map(digestOf);
    const { missingBlobDigests } = await runners.cas.findMissingBlobs({ blobDigests: asked }, call);
    t.deepEqual(
      missingBlobDigests.map(({ hash }) => hash),
      [tool, other].map(sha256),
    );
    const pieces = await collect(runners.bytes.read({ resourceName: download(large) }, call));
    t.true(large.equals(Buffer.concat(pieces.map(({ data }) => data))));
    t.is(
      (await failure(t, () => collect(runners.bytes.read({ resourceName: download(tool) }, call)))).reason,
      'BLOB_NOT_FOUND',
    );
    // What it was given it may leave as its own.
    const output = directory({ files: [{ name: 'same', digest: digestOf(large) }] });
    await runners.cas.batchUpdateBlobs({ requests: [{ digest: digestOf(output), data: output }] }, call);
    const outputDigest = { ...digestOf(output), kind: ContentKind.TREE };
    const { job } = await runner.worker.completeJob({ uuid, claimToken, outputDigest });
    t.is(job?.state, JobState.COMPLETE);
  } finally {
    runners.close();
  }
});

for (const way of ['clones', 'copies', 'links in a sandbox'] as const) {
  test.serial(`a script that attacks its inputs spoils nothing for the next job (${way})`, async (t) => {
    const { sandbox, why } = await openSandbox(way === 'links in a sandbox' ? 'auto' : 'none', []);
    if (way === 'links in a sandbox' && !sandbox) return wanting(t, 'bwrap', why);
    const inputCache = join(dir, `cache-${way}`);
    const folder = join(dir, `attacked-${way}`);
    mkdirSync(folder);
    const files = Array.from({ length: 6 }, (_, i) => [`f${i}`, randomBytes(i === 0 ? 300_000 : 100 + i)] as const);
    for (const [name, data] of files) writeFileSync(join(folder, name), data);
    const { address } = await put('ada', folder);
    const worker = { inputCache, clone: way !== 'copies', sandbox, environment: { CACHE: inputCache } };
    const attack = await ran(
      ada,
      uuidOf(await request(ada, { script: 'attack.sh', scriptParameters: { address } })),
      worker,
    );
    t.is(attack.state, JobState.COMPLETE, attack.failureMessage);
    const next = await ran(ada, uuidOf(await request(ada, { scriptParameters: { address } })), worker);
    t.is(next.state, JobState.COMPLETE, next.failureMessage);
    for (const [name, data] of files) {
      t.true(data.equals(await fileOf(ada, next.uuid, `copy/${address.slice(7)}/${name}`)), name);
    }
    if (sandbox) t.true(readdirSync(inputCache).length >= files.length);
    // What is kept is whole again.
    for (const [, data] of files) t.true(data.equals(readFileSync(join(inputCache, sha256(data)))));
  });
}

test.serial(
  'in a sandbox a checkout that a script left as it found it is that of the next, and no other is',
  async (t) => {
    const { sandbox, why } = await openSandbox('auto', []);
    if (!sandbox) return wanting(t, 'bwrap', why);
    const ways = ['leave', 'leave', 'write', 'leave', 'add', 'leave', 'leave'];
    const uuids: string[] = [];
    for (const [n, way] of ways.entries()) {
      uuids.push(uuidOf(await request(ada, { script: 'tree.sh', scriptParameters: { n, way } })));
    }
    await workOnce({
      address: server.address(),
      principal: 'runner',
      repository: ['project', repository.path],
      sandbox,
    });
    const [found, whole]: [string[], string[]] = [[], []];
    for (const uuid of uuids) {
      const { job } = await ada.jobs.getJob({ uuid });
      t.is(job?.state, JobState.COMPLETE, job?.failureMessage);
      found.push(String(await fileOf(ada, uuid, 'found')));
      whole.push(String(await fileOf(ada, uuid, 'whole')));
    }
    // Whatever was done to it, all find the same.
    for (const one of whole)
      t.is(
        one,
        Array.from({ length: 20 }, (_, i) => `file ${i}\n`)
          .sort()
          .join(''),
      );
    const isSame = found.map((one, i) => i > 0 && one === found[i - 1]);
    t.deepEqual(isSame, [false, true, true, false, true, false, true]);
  },
);

test.serial('what is lost or too much ends the attempt, and says which', async (t) => {
  const made = await ran(ada, uuidOf(await request(ada, { script: 'make.sh', scriptParameters: { once: true } })));
  const { address } = await put('ada', local);
  const [lost, large, deep] = await Promise.all([
    request(ada, { scriptParameters: { it: `${made.output}/d/made` } }),
    request(ada, { scriptParameters: { it: address } }),
    request(ada, { scriptParameters: { it: `${address}/tool` } }),
  ]);
  const blobs = join(server.config.data_dir, 'content', 'blobs');
  const gone = sha256(Buffer.from('made\n'));
  rmSync(join(blobs, gone.slice(0, 2), gone));
  const job = await ran(ada, uuidOf(lost), { maxBytes: 100_000 });
  t.is(job.failureReason, 'INPUT_LOST');
  t.true(job.failureMessage.includes(`${made.output}/d/made`), job.failureMessage);
  t.is(job.inputs[0]?.job, made.uuid);
  t.is((await ada.jobs.getJob({ uuid: uuidOf(large) })).job?.failureReason, 'INPUT_TOO_LARGE');
  t.is((await ada.jobs.getJob({ uuid: uuidOf(deep) })).job?.state, JobState.COMPLETE);
  // A job that would be made is not, where the root itself is gone.
  const { outputDigest } = made;
  rmSync(join(blobs, outputDigest?.hash.slice(0, 2) ?? '', outputDigest?.hash ?? ''));
  await refused(t, server, () => request(ada, { scriptParameters: { all: made.output } }), {
    code: 'FAILED_PRECONDITION',
    reason: 'INPUT_LOST',
    naming: made.uuid,
  });
});

test.serial('what cannot be put is refused by name, and nothing of it is recorded', async (t) => {
  const bad = join(dir, 'bad');
  mkdirSync(bad);
  symlinkSync('../reads', join(bad, 'out'));
  const end = await server.end();
  const refusals: readonly (readonly [path: string, naming: RegExp])[] = [
    [join(dir, 'none'), /none" cannot be put: there is nothing/],
    [bad, /bad\/out" cannot be put: it is a symbolic link to "\.\.\/reads"/],
    ['/dev/null', /neither a file nor a directory/],
  ];
  for (const [path, naming] of refusals) {
    const said = await runMemoir(['put', path], as('ada'));
    t.is(said.code, 2, said.err);
    t.regex(said.err, naming);
  }
  rmSync(join(bad, 'out'));
  writeFileSync(Buffer.concat([Buffer.from(`${bad}/`), Buffer.from([0xff])]), '');
  t.regex((await runMemoir(['put', bad], as('ada'))).err, /not UTF-8/);
  t.is(await server.end(), end);
});

test.serial('an output that cannot be stored is said, and kept by the worker for a day', async (t) => {
  const unstored = join(dir, 'unstored');
  const old = join(unstored, 'of yesterday');
  mkdirSync(old, { recursive: true });
  utimesSync(old, 1_000, 1_000);
  const [job, large] = await Promise.all([
    request(ada, { script: 'odd.sh' }),
    request(ada, { script: 'odd.sh', scriptParameters: { large: true } }),
  ]);
  const odd = await ran(ada, uuidOf(job), { unstored });
  t.is(odd.failureReason, 'UNSTORABLE_OUTPUT');
  const log = async (uuid: string) =>
    Buffer.concat((await collect(ada.content.readLog({ uuid }))).map(({ data }) => data)).toString();
  t.regex(await log(odd.uuid), /^hello\nmemoir: the output cannot be stored: .*its worker keeps it until \d{4}-/);
  // Another that is larger than all that may be kept.
  t.regex(await log(uuidOf(large)), /it is removed\n$/);
  const names = readdirSync(unstored);
  t.is(names.length, 1, names.join());
  t.true(names[0]?.startsWith(odd.uuid));
  t.is(readFileSync(join(unstored, names[0] ?? '', 'good'), 'utf8'), 'good\n');
});

test.serial('an audit takes every decision again as it was', async (t) => {
  const { report, findings } = await audited(join(server.config.data_dir, 'events.sqlite'), {
    project: repository.path,
    other: repository.path,
  });
  t.deepEqual(findings, []);
  t.true(report.same > 15, String(report.same));
});
