import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import Database from 'better-sqlite3';
import { Fault } from '../../gen/memoir/jobs/v1/attempt_pb.js';
import { type Job, JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { cuttingProxy } from '../support/cutting-proxy.js';
import { makeRepository } from '../support/git-repository.js';
import { makeProject } from '../support/project.js';
import { wanting } from '../support/required.js';
import { complete, fail, request, uuidOf } from '../support/runs.js';
import { startTestServer } from '../support/server.js';
import { until } from '../support/until.js';
import { workOnce } from '../support/worker.js';

// The examples of docs/subscribe.md, run as they are.

const root = fileURLToPath(new URL('../../../', import.meta.url));
const project = makeProject();
const directory = mkdtempSync(join(tmpdir(), 'memoir-examples-'));
test.after.always(() => {
  project.repository.dispose();
  rmSync(directory, { recursive: true });
});

type Start = (address: string, table: string) => ChildProcess;

/** Lets the example run, kills it again and again while jobs finish, and looks at what it kept. */
async function tryExample(t: ExecutionContext, name: string, start: Start): Promise<void> {
  const server = await startTestServer({ repositories: { project: project.repository.path } });
  t.teardown(() => server.dispose());
  const [ada, bob] = [server.as('ada'), server.as('bob')];
  const path = join(directory, `${name}.sqlite`);
  const expected: [string, string][] = [];
  for (let round = 0; round < 3; round++) {
    const example = start(server.address(), path);
    const gone = once(example, 'exit');
    for (let i = 0; i < 3; i++) {
      const uuid = uuidOf(await request(ada, { scriptParameters: { round, i } }));
      if (i === 2) await fail(bob, uuid);
      else await complete(bob, uuid);
      expected.push([uuid, i === 2 ? 'JobFailed' : 'JobCompleted']);
    }
    await until(`${name} kept ${expected.length} jobs`, () => {
      if (example.exitCode !== null) throw new Error(`${name} ended with ${example.exitCode}`);
      return rows(path).length === expected.length;
    });
    example.kill('SIGKILL');
    await gone;
  }
  t.deepEqual(rows(path), expected);
}

function rows(path: string): [string, string][] {
  if (!existsSync(path)) return [];
  const db = new Database(path, { readonly: true });
  try {
    const there = db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'finished'").get();
    return there ? (db.prepare('SELECT job, how FROM finished ORDER BY rowid').raw().all() as [string, string][]) : [];
  } finally {
    db.close();
  }
}

test('the example in TypeScript keeps every finished job once', async (t) => {
  await tryExample(t, 'typescript', (address, path) =>
    spawn(process.execPath, [join(root, 'build/docs/examples/subscriber.js'), address, path], {
      stdio: ['ignore', 'ignore', 'inherit'],
    }),
  );
});

/** A Python with what the examples need, and where the messages are that it imports; undefined if there is none, which the test then says. */
function pythonOf(t: ExecutionContext): { readonly python: string; readonly env: NodeJS.ProcessEnv } | undefined {
  // MEMOIR_TEST_PYTHON=/path/to/python of an environment that has grpcio, grpcio-tools and rfc8785.
  const python = process.env.MEMOIR_TEST_PYTHON ?? 'python3';
  if (spawnSync(python, ['-c', 'import grpc, grpc_tools, rfc8785']).status !== 0) {
    wanting(t, 'python', `${python} has no grpcio, grpcio-tools and rfc8785`);
    return undefined;
  }
  const code = join(directory, 'python');
  const protoc = execFileSync(python, ['-c', 'import sys; print(sys.prefix)'], { encoding: 'utf8' }).trim();
  const env = { ...process.env, PATH: `${join(protoc, 'bin')}:${process.env.PATH}` };
  if (!existsSync(code)) {
    const template = 'docs/examples/python/buf.gen.yaml';
    const args = ['generate', '--template', template, '--output', code];
    execFileSync(join(root, 'node_modules/.bin/buf'), args, { cwd: root, env });
  }
  return { python, env: { ...env, PYTHONPATH: join(code, 'build/python'), PYTHONDONTWRITEBYTECODE: '1' } };
}

test.serial('the example in Python keeps every finished job once', async (t) => {
  const { python = '', env } = pythonOf(t) ?? {};
  if (!env) return;
  await tryExample(t, 'python', (address, path) =>
    spawn(python, [join(root, 'docs/examples/python/subscriber.py'), address, path], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env,
    }),
  );
});

const stays = '#!/bin/sh\ntrap "exit 1" TERM\necho began\nwhile true; do sleep 0.1; done\n';
const scripts = {
  'makes.sh': `#!/bin/sh
cat > "$MEMOIR_OUTPUT/parameters"; mkdir -p "$MEMOIR_OUTPUT/d/empty"; printf x > "$MEMOIR_OUTPUT/d/run"; chmod 755 "$MEMOIR_OUTPUT/d/run"
ln -s d/run "$MEMOIR_OUTPUT/link"; head -c 3000000 /dev/zero | tr '\\0' y > "$MEMOIR_OUTPUT/large"; printf 'caf\\351 %s\\n' "$(cat kept)"
`,
  'takes.sh':
    '#!/bin/sh\ncat "$MEMOIR_INPUTS"/*/link\n[ -x "$MEMOIR_INPUTS"/*/d/run ] && cat "$MEMOIR_INPUTS_JSON" | tr / "\\n" | tail -n 1\n',
  'fails.sh': '#!/bin/sh\necho before; exit 3\n',
  'stays.sh': stays,
  kept: 'as it is',
};

test.serial('the worker in Python does what ours does, and stops where its attempt has ended', async (t) => {
  const { python = '', env } = pythonOf(t) ?? {};
  if (!env) return;
  const repository = makeRepository();
  repository.commit(scripts);
  const server = await startTestServer({ repositories: { project: repository.path } });
  // It cuts connections in the midst of what is uploaded.
  const proxy = await cuttingProxy(server.address(), 1_000_000, 2);
  const ada = server.as('ada');
  t.teardown(async () => {
    await proxy.close();
    await server.dispose();
    repository.dispose();
  });
  const scriptParameters = {
    b: [1, -0, 1.5, 1e21, 1e-7, 0.00001, 123456789012345],
    a: { ü: 'é\u0007"\\', '': null, z: true },
  };
  const submit = async (script: string, more: object = {}) =>
    uuidOf(await request(ada, { script, retry: { minBackoff: { nanos: 1 }, maxBackoff: { nanos: 1 } }, ...more }));
  const jobOf = async (uuid: string) => (await ada.jobs.getJob({ uuid })).job as Job;
  const inState = (uuid: string, state: JobState) =>
    until(`it is ${JobState[state]}`, async () => {
      const job = await jobOf(uuid);
      return job.state === state && job;
    });
  const logOf = async (uuid: string) => {
    let text = '';
    for await (const { data } of ada.content.readLog({ uuid })) text += Buffer.from(data).toString('latin1');
    return text;
  };
  const began = (uuid: string) =>
    until('it began', async () => {
      for await (const { text } of ada.jobs.tailJobLog({ uuid })) return text.includes('began');
      return false;
    });

  const args = [
    join(root, 'docs/examples/python/worker.py'),
    proxy.address,
    '--repository',
    `project=${repository.path}`,
  ];
  const options = ['--principal', 'snake', '--work-dir', join(directory, 'work'), '--lease', '1.5'];
  const worker = spawn(python, [...args, ...options], { stdio: ['ignore', 'pipe', 'pipe'], env });
  const gone = once(worker, 'exit');
  let said = '';
  t.teardown(() => {
    worker.kill('SIGKILL');
    if (!t.passed) t.log(said);
  });
  for (const stream of [worker.stdout, worker.stderr]) stream.on('data', (data) => (said += data));
  const says = (text: string) =>
    until(`${text} is said`, () => {
      if (worker.exitCode !== null) throw new Error(`it ended: ${said}`);
      return said.includes(text);
    });

  const first = await submit('makes.sh', { scriptParameters });
  await says(`${first} complete`);
  const theirs = await inState(first, JobState.COMPLETE);
  t.is(await logOf(first), 'caf\xe9 as it is\n');
  t.is(proxy.cuts(), 2);
  t.regex(said, /trying again/);

  const taken = await submit('takes.sh', { scriptParameters: { from: theirs.output } });
  const failed = await submit('fails.sh', { retry: { failed: 0 } });
  await inState(taken, JobState.COMPLETE);
  t.is(await logOf(taken), `x${theirs.output.slice('sha256:'.length)}"}`);
  const { attempts, failureMessage } = await inState(failed, JobState.FAILED);
  t.is(failureMessage, 'fails.sh exited with code 3');
  t.like(attempts[0], { reason: 'SCRIPT_FAILED', fault: Fault.SCRIPT });
  t.is(await logOf(failed), 'before\n');

  const cancelled = await submit('stays.sh');
  await began(cancelled);
  await ada.jobs.cancelJob({ uuid: cancelled });
  await says(`${cancelled} given up: CANCELLED`);

  // One that was not heard of for longer than its lease, whose job another has by now.
  const lost = await submit('stays.sh');
  await began(lost);
  worker.kill('SIGSTOP');
  await inState(lost, JobState.QUEUED);
  const { claimToken } = await server.as('bob').worker.claimJob({ uuid: lost, claimToken: Buffer.alloc(32, 7) });
  worker.kill('SIGCONT');
  await says(`${lost} given up: ATTEMPT_ENDED`);
  await server.as('bob').worker.completeJob({ uuid: lost, claimToken, output: 'o', log: 'l' });
  t.is((await inState(lost, JobState.COMPLETE)).output, 'o');

  const stopped = await submit('stays.sh');
  await began(stopped);
  worker.kill('SIGTERM');
  t.deepEqual(await gone, [0, null], said);
  t.like((await inState(stopped, JobState.QUEUED)).attempts, { 0: { reason: 'WORKER_STOPPED', fault: Fault.WORKER } });

  await ada.jobs.cancelJob({ uuid: stopped });
  const again = await submit('makes.sh', { scriptParameters });
  await workOnce({ address: server.address(), principal: 'w', repository: ['project', repository.path] });
  const ours = await inState(again, JobState.COMPLETE);
  t.is(theirs.output, ours.output, 'the same files under the same address');
  t.is(theirs.log, ours.log);
});
