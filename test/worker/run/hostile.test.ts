import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { type Job, JobState } from '../../../gen/memoir/jobs/v1/job_pb.js';
import type { CallError } from '../../../src/rpc/call-error.js';
import { openImageRuntime } from '../../../src/worker/run/image-runtime.js';
import { imagePuller } from '../../../src/worker/run/pull-image.js';
import { openSandbox, type Sandbox } from '../../../src/worker/run/sandbox.js';
import { sha256 } from '../../support/content.js';
import { makeRepository } from '../../support/git-repository.js';
import {
  type Case,
  cases,
  kept,
  type Mode,
  mark,
  modes,
  nameOfCase,
  others,
  prelude,
  type Ran,
  taken,
} from '../../support/hostile-scripts.js';
import { type Podman, programPath, startPodman } from '../../support/podman.js';
import { wanting } from '../../support/required.js';
import { request, uuidOf } from '../../support/runs.js';
import { startTestServer, type TestServer } from '../../support/server.js';
import { until } from '../../support/until.js';
import { workOnce } from '../../support/worker.js';

// What scripts do that mean no good, in each of what they are run in. The table in docs/work.md says the same, row by row: what is bold there is
// what a script gets. One worker runs all of them, one after the other beside a neighbour, and each looks first whether its places are well.

const repository = makeRepository();
const scripts = [...cases.map(({ script }, i) => [nameOfCase(i), script] as const), ...Object.entries(others)];
repository.commit(Object.fromEntries(scripts.map(([name, text]) => [name, prelude + text])));

/** Where the workers are, one after the other, and the cache of inputs that all of them have. */
const base = mkdtempSync(join(tmpdir(), 'memoir-hostile-'));
const cache = join(base, 'inputs');
let server: TestServer;
let podman: Podman | string;
let sandbox: Sandbox | undefined;
let without = '';
/** Whether runs without an image are in control groups of their own, as where a worker is root. */
let grouped = false;
/** The job whose output is an input of others. */
let made: Job;

test.before(async () => {
  process.env.MEMOIR_HOSTILE_SECRET = 'token';
  podman = await startPodman();
  ({ sandbox, why: without } = await openSandbox('auto', []));
  server = await startTestServer({ repositories: { project: repository.path } });
  const uuid = await submit('makes.sh', 'none');
  await workOnce(await worker('none'));
  ({ job: made } = await ranOf(uuid));
  grouped = made.ran?.peakRamBytes !== undefined;
  if (typeof podman === 'string') return;
  const { registry, manifest: hash } = podman;
  await server.as('ada').images.registerImage({ hash, repository: `${registry.host}/tools/first`, tag: 'latest' });
});
test.after.always(async () => {
  await server?.dispose();
  if (typeof podman === 'object') await podman.dispose();
  repository.dispose();
  rmSync(base, { recursive: true, force: true });
});

function isThere(t: ExecutionContext, mode: Mode): boolean {
  if (mode === 'container' && typeof podman === 'string') wanting(t, 'podman', podman);
  else if (mode === 'sandbox' && !sandbox) wanting(t, 'bwrap', without);
  else return true;
  return false;
}

async function submit(script: string, mode: Mode, more: object = {}): Promise<string> {
  const dockerImage = typeof podman === 'object' && mode === 'container' ? `${podman.registry.host}/tools/first` : '';
  const { scratchMb, ...others } = more as { readonly scratchMb?: number | undefined };
  const constraints = { dockerImage, minRamMbPerNode: 128, ...(scratchMb && { minScratchMbPerNode: scratchMb }) };
  const retry = { lost: 0 };
  return uuidOf(await request(server.as('ada'), { script, retry, ...others, runtimeConstraints: constraints }));
}

/** A worker of a mode. */
async function worker(mode: Mode): Promise<Parameters<typeof workOnce>[0]> {
  const runtime = mode === 'container' ? await openImageRuntime('podman') : undefined;
  const hash = sha256(Buffer.from(kept));
  return {
    address: server.address(),
    principal: 'w',
    repository: ['project', repository.path],
    offer: { cores: 1, ramMb: 512n, scratchMb: 100n, imageRuntimes: ['podman'] },
    jobs: 2,
    base,
    inputCache: cache,
    environment: {
      BESIDE: base,
      PORT: server.address().split(':')[1] ?? '',
      VICTIMS: `${cache}/* ${server.config.data_dir}/content/blobs/${hash.slice(0, 2)}/${hash}`,
    },
    // Where there is one, what is kept apart shares files with the worker, in containers too.
    sandbox: mode === 'none' ? undefined : sandbox,
    ...(runtime && {
      images: (workDirectory: string) => ({
        runtime,
        pull: imagePuller(runtime, async () => undefined),
        network: undefined,
        workDirectory,
        uuid: () => crypto.randomUUID(),
        setsPath: false,
      }),
    }),
  };
}

/** What became of a job, and what it printed. */
async function ranOf(uuid: string): Promise<Ran> {
  const job = (await server.as('ada').jobs.getJob({ uuid })).job as Job;
  let log = '';
  if (job.log !== '') {
    for await (const { data } of server.as('ada').content.readLog({ uuid })) log += Buffer.from(data).toString('utf8');
  }
  return { job, log: log.replaceAll(/^memoir: .*\n/gm, '') };
}

/** A row of the table that no script here tries: these workers have no secrets. What jobs that have some are given is in the tests of secrets. */
const secretsRow = 'looks for secrets of other jobs';

/** What the table says of each row, by mode. */
function table(): Map<string, Record<Mode, string>> {
  const page = readFileSync(fileURLToPath(new URL('../../../../docs/work.md', import.meta.url)), 'utf8');
  const [, text = ''] = /\n\| a script that \|.*\n\|[-|]*\n((?:\|.*\n)+)/.exec(page) ?? [];
  const rows = text
    .trim()
    .split('\n')
    .map((line) => line.slice(2, -2).split(' | '));
  return new Map(
    rows.map(([row = '', container = '', sandbox = '', none = '']) => [row, { container, sandbox, none }]),
  );
}

/** Numbers of the processes with the mark in their command line. */
function marked(): number[] {
  return readdirSync('/proc').flatMap((name) => {
    try {
      return readFileSync(`/proc/${name}/cmdline`, 'latin1').endsWith(`${mark}\0`) ? [Number(name)] : [];
    } catch {
      return [];
    }
  });
}

const beganIn = (uuid: string) =>
  until('it began', async () => {
    const { job } = await ranOf(uuid);
    if (job.state === JobState.FAILED) throw new Error(job.failureMessage);
    for await (const { text } of server.as('ada').jobs.tailJobLog({ uuid })) if (text.includes('began')) return true;
    return false;
  });

const ended = (uuid: string) =>
  until('it ended', async () => {
    const { job } = await server.as('ada').jobs.getJob({ uuid });
    return job && job.state !== JobState.QUEUED && job.state !== JobState.RUNNING;
  });

/** Whether the secret of an attempt stands where a script of a worker that keeps it from nothing could look: all but in memory. */
function isWritten(token: Uint8Array): boolean {
  const bytes = Buffer.from(token);
  const spellings = [bytes, ...(['hex', 'base64'] as const).map((spelling) => Buffer.from(bytes.toString(spelling)))];
  const has = (path: string) => {
    try {
      const text = readFileSync(path);
      return spellings.some((one) => text.includes(one));
    } catch {
      return false;
    }
  };
  const files = readdirSync(base, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return (
    files.some(({ parentPath, name }) => has(join(parentPath, name))) ||
    readdirSync('/proc').some((name) => has(`/proc/${name}/environ`) || has(`/proc/${name}/cmdline`))
  );
}

test('the table of what each mode keeps from a script has what is run here', (t) => {
  const rows = [...table().keys()].filter((row) => row !== secretsRow);
  t.deepEqual(
    rows,
    cases.map(({ row }) => row),
  );
});

for (const mode of modes) {
  const isKept = mode !== 'none';
  test.serial(`${mode}: what a hostile script gets, and that the next job is well`, async (t) => {
    if (!isThere(t, mode)) return;
    const input = { scriptParameters: { from: `${made.output}/taken` } };
    const tokens = new Map<string, Uint8Array>();
    const neighbour = await submit('neighbour.sh', mode);
    const first = await submit('well.sh', mode);
    const before = await submit('takes.sh', mode, input);
    const links = await submit('links.sh', mode);
    const uuids: string[] = [];
    for (const [i, { scratchMb }] of cases.entries()) uuids.push(await submit(nameOfCase(i), mode, { scratchMb }));
    const [after, link, exchanges, last] = [
      await submit('takes.sh', mode, input),
      await submit('link.sh', mode),
      await submit('exchanges.sh', mode),
      await submit('well.sh', mode),
    ];
    const deaf = uuids[cases.findIndex(({ row }) => row.startsWith('ignores SIGTERM'))] as string;

    const stop = new AbortController();
    const onClaim = (uuid: string, token: Uint8Array) => tokens.set(uuid, token);
    const working = workOnce({ ...(await worker(mode)), onClaim, stop: stop.signal });
    const beside = async () => {
      await beganIn(neighbour);
      // One after the other, which may take long on a machine that is busy.
      for (const uuid of [first, before, links, ...uuids.slice(0, uuids.indexOf(deaf))]) await ended(uuid);
      await beganIn(deaf);
      await onlyItsOwn(t, neighbour, tokens.get(neighbour) as Uint8Array, deaf);
      await server.as('ada').jobs.cancelJob({ uuid: deaf });
      for (const uuid of [...uuids, after, link, exchanges, last]) await ended(uuid);
      t.is((await ranOf(neighbour)).job.state, JobState.RUNNING, 'who runs beside them goes on');
      await server.as('ada').jobs.cancelJob({ uuid: neighbour });
    };
    await Promise.all([working, beside().finally(() => stop.abort())]);

    t.is((await ranOf(first)).job.ran?.sandbox, mode === 'sandbox' ? 'bubblewrap' : '');
    const isHeld = isKept || grouped;
    const rows = table();
    for (const [i, one] of cases.entries()) {
      const ran = await ranOf(uuids[i] as string);
      const gets = rows.get(one.row)?.[mode].startsWith('**') ?? false;
      judge(t, one, ran, gets);
      one.check?.(t, ran, { mode, isHeld });
    }
    t.is(marked().length > 0, !isHeld, 'a daemon');
    for (const pid of marked()) process.kill(pid, 'SIGKILL');

    for (const uuid of [before, after]) {
      const { job, log } = await ranOf(uuid);
      t.is(log, `well\n${taken}`, `inputs are what they are: ${job.failureMessage}`);
    }
    t.is((await ranOf(links)).job.state, JobState.COMPLETE, (await ranOf(links)).job.failureMessage);
    const found: string[] = [];
    for (const name of ['in', 'out']) {
      for await (const { data } of server.as('ada').content.readOutput({ uuid: links, path: name }))
        found.push(Buffer.from(data).toString('utf8'));
    }
    t.deepEqual(found, ['x\n', 'y\n'], 'links by whole paths, as the script knows them, are kept or followed');
    const linked = await ranOf(link);
    t.is(linked.job.failureReason, 'UNSTORABLE_OUTPUT', linked.job.failureMessage);
    const exchanged = await ranOf(exchanges);
    t.is(exchanged.job.failureReason, 'SCRIPT_FAILED');
    for (const { job } of [linked, exchanged]) t.is(job.attempts[0]?.output, '', 'nothing of the machine is kept');
    t.is((await ranOf(last)).log, 'well\n', 'the next job is well');
    if (!isKept) {
      const reading = async () => {
        for await (const _ of server.as('ada').content.readOutput({ uuid: made.uuid, path: 'kept' }));
      };
      const error = (await t.throwsAsync(
        reading,
        undefined,
        'content that was changed is given to nobody',
      )) as CallError;
      t.is(error.reason, 'CONTENT_LOST');
    }
  });
}

/** Looks at what a script printed, and how it ended. */
function judge(t: ExecutionContext, { row, word, reason, check }: Case, { job, log }: Ran, gets: boolean): void {
  if (reason !== undefined) t.is(job.failureReason, reason, `${row}: ${job.failureMessage}\n${log}`);
  else if (!check) t.is(job.state, JobState.COMPLETE, `${row}: ${job.failureMessage}\n${log}`);
  // Of one that is cancelled nothing more is stored.
  t.true(
    log.startsWith('well\n') || job.state === JobState.CANCELLED,
    `the job before it left something: ${row}\n${log}`,
  );
  if (word !== undefined) t.is(log, gets ? `well\n${word}\n` : 'well\n', row);
}

/** With the token of an attempt, whoever has it speaks for that alone. */
async function onlyItsOwn(t: ExecutionContext, own: string, claimToken: Uint8Array, other: string): Promise<void> {
  t.false(isWritten(claimToken), 'the token stands in a file or an environment');
  const { worker: w } = server.as('w');
  const speaks: readonly [string, () => Promise<unknown>][] = [
    ['heartbeat', () => w.heartbeat({ uuid: other, claimToken })],
    ['log', () => w.appendJobLog([{ uuid: other, claimToken, text: 'x' }])],
    ['completion', () => w.completeJob({ uuid: other, claimToken, output: 'o', log: 'l' })],
    ['failure', () => w.failJob({ uuid: other, claimToken, reason: 'MINE' })],
  ];
  for (const [what, call] of speaks) {
    const error = (await t.throwsAsync(call, undefined, what)) as CallError;
    t.is(error.reason, 'ATTEMPT_ENDED', what);
  }
  const { worker: mallory } = server.as('mallory');
  const error = (await t.throwsAsync(mallory.heartbeat({ uuid: own, claimToken }))) as CallError;
  t.is(error.reason, 'NOT_YOUR_JOB');
  t.is((await w.heartbeat({ uuid: own, claimToken })).state, JobState.RUNNING);
}

test('scripts have no terminal, also where the worker has one', (t) => {
  const program = programPath('script');
  if (!program) {
    t.pass('script(1) is not installed');
    return;
  }
  const child = fileURLToPath(new URL('../../support/terminal-child.js', import.meta.url));
  const out = execFileSync(program, ['-qec', `'${process.execPath}' '${child}'`, '/dev/null'], {
    encoding: 'utf8',
    input: '',
  });
  t.deepEqual(JSON.parse(out.trim().split('\n').at(-1) ?? ''), { worker: true, script: false });
});
