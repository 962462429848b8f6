import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ava, { type ExecutionContext } from 'ava';
import { Fault } from '../../gen/memoir/jobs/v1/attempt_pb.js';
import { Rule } from '../../gen/memoir/jobs/v1/decision_pb.js';
import { type Job, JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { openSandbox, type Sandbox } from '../../src/worker/run/sandbox.js';
import { offeredSecrets } from '../../src/worker/secrets/give-secrets.js';
import { readSecretsFile } from '../../src/worker/secrets/held-secrets.js';
import { audited } from '../audit/scene.js';
import { collect } from '../contract/events.js';
import { runMemoir } from '../support/command.js';
import { makeRepository } from '../support/git-repository.js';
import { failure, refused } from '../support/refused.js';
import { find, plenty, request, uuidOf } from '../support/runs.js';
import { test } from '../support/serial.js';
import type { Clients } from '../support/server.js';
import { serverOfFile } from '../support/server-of-file.js';
import { until } from '../support/until.js';
import { workOnce } from '../support/worker.js';

const [password, key] = ['hunter2-"quoted"', 'line one of it\nline two of it\n'];
const repository = makeRepository();
repository.commit({
  'run.sh': [
    '#!/bin/sh',
    'test -n "$MEMOIR_SECRETS" || { echo none > "$MEMOIR_OUTPUT/none"; exit 0; }',
    'cd "$MEMOIR_SECRETS"; stat -c "%a %n" * > "$MEMOIR_OUTPUT/modes"; sha256sum * > "$MEMOIR_OUTPUT/sums"; pwd > "$MEMOIR_OUTPUT/where"',
    'echo "it is $(cat DB_PASSWORD)"; printf "and hunt" >&2; sleep 0.1; printf "er2-\\"quoted\\" too" >&2; echo; sed -n 2p KEY',
    'printf \'{"message":"with %s"}\' "$(sed \'s/"/\\\\"/g\' DB_PASSWORD)" > "$MEMOIR_PROGRESS"; sleep 0.7',
    'env | grep -c "hunter2\\|line two" > "$MEMOIR_OUTPUT/environment"; true',
  ].join('\n'),
});
const dir = mkdtempSync(join(tmpdir(), 'memoir-secrets-'));
const policy = join(dir, 'policy.toml');
const grants = [
  'ada submitter project',
  'bob submitter project',
  'eve reader project',
  'runner worker project',
  'root admin **',
]
  .map((grant) => grant.split(' '))
  .map(([to, role, of]) => `[[grants]]\nto = ["${to}"]\nroles = ["${role}"]\nrepositories = ["${of}"]\n`);
writeFileSync(policy, grants.join('\n'));
const secretsFile = join(dir, 'secrets.toml');
writeFileSync(join(dir, 'key'), key);
const entry = (name: string, grant: string, principals: string, how: string) =>
  `[[secret]]\nname = "${name}"\ngrant = "${grant}"\nrepositories = ["project"]\nprincipals = [${principals}]\n${how}\n`;
writeFileSync(
  secretsFile,
  [
    entry('DB_PASSWORD', 'prod', '"ada", "cleo"', `value = '${password}'`),
    entry('KEY', 'lab', '"a*"', `file = "key"`),
    entry('TOKEN', 'one', '"*"', 'command = ["printf", "token-%s\\n", "1"]'),
    entry('TOKEN', 'two', '"ada"', 'command = ["false"]'),
  ].join('\n'),
  { mode: 0o600 },
);
const server = serverOfFile({ repositories: { project: repository.path }, settings: { policy } });
const [ada, bob, eve, runner, root] = ['ada', 'bob', 'eve', 'runner', 'root'].map((name) => server.as(name)) as [
  Clients,
  Clients,
  Clients,
  Clients,
  Clients,
];
ava.after.always(() => {
  repository.dispose();
  rmSync(dir, { recursive: true, force: true });
});

async function offered() {
  const held = await readSecretsFile(secretsFile);
  return { held, offer: { ...plenty, secrets: offeredSecrets(held) } };
}

async function run(sandbox?: Sandbox): Promise<void> {
  const { held, offer } = await offered();
  await workOnce({
    address: server.address(),
    principal: 'runner',
    repository: ['project', repository.path],
    secrets: held,
    offer,
    sandbox,
  });
}

async function read(who: Clients, uuid: string): Promise<Job> {
  return (await who.jobs.getJob({ uuid })).job as Job;
}

async function fileOf(uuid: string, path: string): Promise<string> {
  return Buffer.concat((await collect(ada.content.readOutput({ uuid, path }))).map(({ data }) => data)).toString();
}

/** A file of the server that holds a text; undefined if none does. */
function holding(text: string): string | undefined {
  const files = readdirSync(server.config.data_dir, { recursive: true, withFileTypes: true }).filter((one) =>
    one.isFile(),
  );
  return files.map((one) => join(one.parentPath, one.name)).find((path) => readFileSync(path).includes(text));
}

/** What a script is given, what is told of it, and what is left. */
async function givenIn(t: ExecutionContext, sandbox: Sandbox | undefined, n: number): Promise<void> {
  const asked = { scriptParameters: { given: n }, secrets: ['KEY@lab', 'DB_PASSWORD'] };
  const uuid = uuidOf(await find(ada, asked));
  await run(sandbox);
  const job = await read(ada, uuid);
  t.is(job.state, JobState.COMPLETE, job.failureMessage);
  t.deepEqual(
    job.secrets.map(({ name, grant }) => [name, grant]),
    [
      ['DB_PASSWORD', 'prod'],
      ['KEY', 'lab'],
    ],
  );
  t.is(await fileOf(uuid, 'modes'), '400 DB_PASSWORD\n400 KEY\n');
  const { createHash } = await import('node:crypto');
  const sum = (text: string) => createHash('sha256').update(text).digest('hex');
  t.is(await fileOf(uuid, 'sums'), `${sum(password)}  DB_PASSWORD\n${sum(key)}  KEY\n`);
  t.is(await fileOf(uuid, 'environment'), '0\n');
  const where = (await fileOf(uuid, 'where')).trim();
  if (sandbox) t.is(where, '/memoir/secrets');
  else {
    t.false(existsSync(where), 'nothing is left');
    const inMemory = existsSync('/dev/shm') && statSync('/dev/shm').isDirectory();
    t.true(!inMemory || where.startsWith('/dev/shm/') || where.startsWith(tmpdir()), where);
  }
  const live = (await collect(ada.jobs.tailJobLog({ uuid, noFollow: true }))).map((piece) => piece.text).join('');
  const stored = Buffer.concat((await collect(ada.content.readLog({ uuid }))).map(({ data }) => data)).toString();
  for (const log of [live, stored]) t.is(log, 'it is ***\nand *** too\n***\n');
}

test('names resolve by the grants of workers seen lately, for the caller alone', async (t) => {
  const asked =
    (...secrets: string[]) =>
    () =>
      request(ada, { secrets, scriptParameters: { resolved: true } });
  const bad = (reason: string, naming: string | RegExp) =>
    ({ code: 'INVALID_ARGUMENT', reason, field: 'secrets[0]', naming }) as const;
  for (const text of ['', '../x', 'A B', 'A@', '@g', 'A@b@c', 'A@../b', '1A']) {
    await refused(t, server, asked(text), bad('BAD_SECRET', /is not the name of a secret/));
  }
  await refused(t, server, asked('A@x', 'A@y'), { ...bad('BAD_SECRET', 'A@y'), field: 'secrets[1]' });
  const many = Array.from({ length: 65 }, (_, i) => `A${i}`);
  await refused(t, server, asked(...many), {
    code: 'INVALID_ARGUMENT',
    reason: 'TOO_MANY',
    field: 'secrets',
    naming: '65',
  });
  await refused(t, server, asked('DB_PASSWORD'), bad('UNKNOWN_SECRET', /name the grant, as DB_PASSWORD@GRANT/));

  const queued = await request(ada, { secrets: ['DB_PASSWORD@prod'], scriptParameters: { resolved: 1 } });
  const { offer } = await offered();
  const claim = { workerName: 'cellar', repositories: ['project'] };
  t.is((await runner.worker.claimJob({ ...claim, offer: plenty })).job, undefined);
  await until('it waits for the secret', async () => {
    const { waitingFor } = await ada.jobs.getJob({ uuid: uuidOf(queued) });
    return waitingFor === 'no worker offers the secret DB_PASSWORD by grant prod';
  });
  await ada.jobs.cancelJob({ uuid: uuidOf(queued) });

  await runner.worker.claimJob({ workerName: 'attic', repositories: ['project'], offer });
  const { job } = await until('the grants are known', () =>
    request(ada, { secrets: ['DB_PASSWORD'] }).catch(() => undefined),
  );
  t.deepEqual(
    job?.secrets.map(({ grant }) => grant),
    ['prod'],
  );
  await until('it waits for nothing', async () => (await ada.jobs.getJob({ uuid: job?.uuid ?? '' })).waitingFor === '');
  await ada.jobs.cancelJob({ uuid: job?.uuid ?? '' });
  await refused(t, server, asked('TOKEN'), bad('AMBIGUOUS_SECRET', /may be any of TOKEN@one, TOKEN@two; name one/));
  // What is granted to others is as what is not there.
  await refused(t, server, () => request(bob, { secrets: ['DB_PASSWORD'] }), bad('UNKNOWN_SECRET', 'DB_PASSWORD'));
  const token = await request(bob, { secrets: ['TOKEN'] });
  t.deepEqual(
    token.job?.secrets.map(({ grant }) => grant),
    ['one'],
  );
  await bob.jobs.cancelJob({ uuid: uuidOf(token) });

  const { workers } = await root.workers.listWorkers({});
  t.deepEqual(workers.find(({ workerName }) => workerName === 'attic')?.offer?.secrets[0]?.principals, ['ada', 'cleo']);
  const told = (await runner.workers.listWorkers({})).workers.flatMap((one) => one.offer?.secrets ?? []);
  t.true(told.every(({ principals, repositories }) => principals.length + repositories.length === 0));
});

test('a script is given them as files, removed afterwards, and what it prints of them is hidden', async (t) => {
  await givenIn(t, undefined, 1);
  const { sandbox, why } = await openSandbox('auto', []);
  if (sandbox) await givenIn(t, sandbox, 2);
  else t.log(`not tried in a sandbox: ${why}`);
  for (const text of ['hunter2-', 'line two of it']) t.is(holding(text), undefined);
});

test('a job is the answer only with the same grants, and is not joined by who has none', async (t) => {
  const asked = { scriptParameters: { shared: true }, secrets: ['DB_PASSWORD@prod'] };
  const first = uuidOf(await find(ada, asked));
  const mine = await find(ada, asked);
  t.is(uuidOf(mine), first);
  const without = await find(ada, { ...asked, secrets: [] });
  const other = await find(ada, { ...asked, secrets: ['DB_PASSWORD@test'] });
  const bobs = await find(bob, asked);
  for (const answer of [without, other, bobs]) {
    t.false(answer.reused);
    t.is(answer.decision?.candidates[0]?.ruledOutBy, Rule.SECRETS);
  }
  t.regex(bobs.decision?.candidates[0]?.detail ?? '', /no worker seen lately has DB_PASSWORD@prod for who requests/);
  // No worker is given what is not granted.
  const { offer } = await offered();
  const refusal = await failure(t, () => runner.worker.claimJob({ uuid: uuidOf(bobs), offer }));
  t.is(refusal.reason, 'OFFER_DOES_NOT_FIT');
  t.regex(refusal.message, /the secret DB_PASSWORD by grant prod \(the offer has it for others\)/);
  await run();
  t.deepEqual(
    await Promise.all(
      [first, uuidOf(without), uuidOf(other), uuidOf(bobs)].map(async (uuid) => (await read(eve, uuid)).state),
    ),
    [JobState.COMPLETE, JobState.COMPLETE, JobState.QUEUED, JobState.QUEUED],
  );
  t.is(
    (await bob.jobs.getJob({ uuid: uuidOf(bobs) })).waitingFor.replace(/.*does not offer |no worker offers /, ''),
    'the secret DB_PASSWORD by grant prod',
  );
  // What is complete is told to who may read it.
  t.is(uuidOf(await find(bob, asked)), first);
  await ada.jobs.cancelJob({ uuid: uuidOf(other) });
  await bob.jobs.cancelJob({ uuid: uuidOf(bobs) });

  // Of an attempt it is recorded what it was given, and not whom else that is for.
  const started = (await collect(root.history.readHistory({ uuid: first })))
    .map(({ event }) => event?.event)
    .find((event) => event?.case === 'jobStarted');
  const secrets = started?.case === 'jobStarted' ? started.value.offer?.secrets : undefined;
  t.deepEqual(
    secrets?.map(({ name, grant, principals }) => [name, grant, principals]),
    [['DB_PASSWORD', 'prod', []]],
  );
});

test('a worker looks again, and what it cannot give is the fault of the place', async (t) => {
  const { held, offer } = await offered();
  const ran = async (secret: string, mine = held) => {
    const retry = { lost: 0 };
    const uuid = uuidOf(await request(ada, { secrets: [secret], scriptParameters: { secret }, retry }));
    const repositoryOf = ['project', repository.path] as const;
    await workOnce({ address: server.address(), principal: 'runner', repository: repositoryOf, secrets: mine, offer });
    const { attempts, failureReason, failureMessage } = await read(ada, uuid);
    return [failureReason, attempts[0]?.fault, failureMessage];
  };
  t.deepEqual(await ran('TOKEN@two'), [
    'SECRET_UNAVAILABLE',
    Fault.PLACE,
    'the secret TOKEN@two cannot be had at this worker',
  ]);
  const narrowed = held.map((one) => ({ ...one, principals: ['cleo'] }));
  t.deepEqual((await ran('DB_PASSWORD@prod', narrowed)).slice(0, 2), ['SECRET_NOT_GRANTED', Fault.PLACE]);
  t.deepEqual((await ran('KEY@lab', [])).slice(0, 2), ['SECRET_NOT_GRANTED', Fault.PLACE]);
});

test('a file of secrets that is wrong is refused, and no message tells what is in it', async (t) => {
  const path = join(dir, 'wrong.toml');
  const cases: [text: string, why: RegExp][] = [
    [`${entry('A', 'g', '"ada"', 'value = "hunter2"')}oops = [`, /cannot be parsed, at line \d/],
    [entry('A B', 'g', '"ada"', 'value = "hunter2"'), /secret.0.name: give up to 64 letters/],
    [entry('A', 'g', '"a b"', 'value = "hunter2"'), /secret.0.principals.0: give globs of principals/],
    [entry('A', 'g', '"ada"', 'value = "hunter2"\nfile = "x"'), /secret.0: give one of value, file and command/],
    [entry('A', 'g', '"ada"', 'value = ["hunter2"]'), /secret.0.value/],
    [entry('A', 'g', '', 'value = "hunter2"'), /secret.0.principals/],
    [`${entry('A', 'g', '"ada"', 'value = "hunter2"')}${entry('A', 'g', '"bob"', 'file = "x"')}`, /A@g is there twice/],
    ['{"secret":[{"name":"A","value":"hunter2"', /cannot be parsed/],
  ];
  for (const [text, why] of cases) {
    const file = text.startsWith('{') ? path.replace('.toml', '.json') : path;
    writeFileSync(file, text, { mode: 0o600 });
    const error = await t.throwsAsync(() => readSecretsFile(file), { message: why });
    t.false(error?.message.includes('hunter2'), error?.message);
  }
  chmodSync(secretsFile, 0o644);
  await t.throwsAsync(() => readSecretsFile(secretsFile), { message: /may be read or written by others/ });
  chmodSync(secretsFile, 0o600);
  await t.throwsAsync(() => readSecretsFile(join(dir, 'none')), { message: /cannot be read \(ENOENT\)/ });
  const json = join(dir, 'secrets.json');
  const one = { name: 'A', grant: 'g', repositories: ['**'], principals: ['*'], command: ['echo', 'x'] };
  writeFileSync(json, JSON.stringify({ secret: [one] }));
  const [held] = await readSecretsFile(json);
  t.is(String(await held?.read(AbortSignal.timeout(10_000))), 'x');
});

test('memoir submit asks for them, a second run has the same, and audits take the decisions again', async (t) => {
  const env = { MEMOIR_SERVER: server.address(), MEMOIR_PRINCIPAL: 'ada' };
  const args = [
    'submit',
    '--repository',
    'project',
    '--script',
    'run.sh',
    '-p',
    'n=1',
    '--secret',
    'DB_PASSWORD',
    '--secret',
    'KEY',
  ];
  const said = await runMemoir([...args, '--json'], { env });
  t.is(said.code, 0, said.err);
  const uuid = (JSON.parse(said.out) as { job: { uuid: string } }).job.uuid;
  await run();
  const shown = await runMemoir(['get', uuid], { env });
  t.regex(shown.out, /secrets +DB_PASSWORD@prod, KEY@lab/);
  const { checks } = await ada.jobs.checkJob({ uuid });
  t.deepEqual(
    checks[0]?.secrets.map(({ grant }) => grant),
    ['prod', 'lab'],
  );
  await ada.jobs.cancelJob({ uuid: checks[0]?.uuid ?? '' });
  await server.stop();
  const { report, findings } = await audited(join(server.config.data_dir, 'events.sqlite'), {
    project: repository.path,
  });
  t.deepEqual(findings, []);
  t.true(report.same > 5, JSON.stringify(report));
});
