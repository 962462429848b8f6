import { execFileSync } from 'node:child_process';
import test, { type ExecutionContext } from 'ava';
import { Fault } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import { type Job, JobState } from '../../../gen/memoir/jobs/v1/job_pb.js';
import type { CreateJobRequest } from '../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { runCommand } from '../../../src/worker/run/command.js';
import { removeLeftovers } from '../../../src/worker/run/container.js';
import { type ImageRuntime, openImageRuntime } from '../../../src/worker/run/image-runtime.js';
import { imagePuller } from '../../../src/worker/run/pull-image.js';
import { makeRepository } from '../../support/git-repository.js';
import { type Podman, startPodman } from '../../support/podman.js';
import { wanting } from '../../support/required.js';
import { request, uuidOf } from '../../support/runs.js';
import { startTestServer, type TestServer } from '../../support/server.js';
import { until } from '../../support/until.js';
import { workOnce } from '../../support/worker.js';

const scripts = {
  'facts.sh': `#!/bin/sh
cat > "$MEMOIR_OUTPUT/parameters"
id -u; hostname; env | /bin/grep -v '^MEMOIR_JOB_UUID' | sort; ls /memoir; ls -d /home /root /work 2>&1
touch /root-file 2>/dev/null && echo wrote into the image
touch /tmp/x "$TMPDIR/y" && echo scratch
ls /sys/class/net
grep -E '^(CapEff|NoNewPrivs)' /proc/self/status
echo one >&2; echo two; echo three >&2
mkdir "$MEMOIR_OUTPUT/locked"; echo made > "$MEMOIR_OUTPUT/locked/file"; ln -s parameters "$MEMOIR_OUTPUT/link"
`,
  '125.sh': '#!/bin/sh\nexit 125\n',
  'memory.sh': '#!/bin/sh\n(dd if=/dev/zero of=/dev/null bs=200M count=1) 2>&1\necho "went on after $?"\n',
  'no-interpreter.sh': '#!/usr/bin/python9\n',
  'asks.sh': '#!/bin/sh\nwget -q -O - "http://127.0.0.1:$PORT/v2/" 2>/dev/null || echo -n "nobody answers"\necho\n',
  'takes.sh': `#!/bin/sh
cat "$MEMOIR_INPUTS"/*/locked/file "$MEMOIR_INPUTS_JSON"
echo; echo "$MEMOIR_UNHASHED"; cat "$MEMOIR_UNHASHED"; touch "$MEMOIR_UNHASHED" 2>/dev/null && echo wrote the unhashed
touch "$MEMOIR_INPUTS/x" 2>/dev/null && echo wrote into the inputs
exit 0
`,
  'secret.sh': `#!/bin/sh
echo "$MEMOIR_SECRETS"; cat "$MEMOIR_SECRETS/TOKEN" | wc -c; cat "$MEMOIR_SECRETS/TOKEN"
touch "$MEMOIR_SECRETS/x" 2>/dev/null && echo wrote into the secrets
exit 0
`,
  'fails.sh': '#!/bin/sh\necho "exec of nothing" >&2\nexit 7\n',
  'stays.sh':
    '#!/bin/sh\ntrap "echo told to end; exit 3" TERM\nsetsid sleep 1000 &\necho began\nwhile true; do sleep 0.1; done\n',
  'deaf.sh': '#!/bin/sh\ntrap "" TERM\necho began\nwhile true; do sleep 0.1; done\n',
};

/** MEMOIR_TEST_IMAGE_RUNTIME=docker runs all of it by docker, whose daemon must run; images are made by podman all the same. */
const runs = process.env.MEMOIR_TEST_IMAGE_RUNTIME === 'docker' ? 'docker' : 'podman';

const repository = makeRepository();
repository.commit(scripts);
let server: TestServer;
let started: Podman | string;
let runtime: ImageRuntime;
test.before(async () => {
  started = await startPodman();
  if (typeof started === 'string') return;
  server = await startTestServer({
    repositories: { project: repository.path },
    settings: { unhashed_parameters: [{ repository: '**', script: '*.sh', names: ['threads'] }] },
  });
  runtime = (await openImageRuntime(runs)) as ImageRuntime;
});
test.after.always(async () => {
  await server?.dispose();
  if (typeof started === 'object') await started.dispose();
  repository.dispose();
});

/** Podman, unless there is none, which the test then says. */
function there(t: ExecutionContext): Podman | undefined {
  if (typeof started !== 'string') return started;
  wanting(t, 'podman', started);
  return undefined;
}

const nobodyKnows = async () => undefined;
const images =
  (known = nobodyKnows as Parameters<typeof imagePuller>[1], by = runtime, network = 'no-such-network') =>
  (workDirectory: string) => ({
    runtime: by,
    pull: imagePuller(by, known),
    network,
    workDirectory,
    uuid: () => crypto.randomUUID(),
    setsPath: false,
  });

/** Registers an image, and gives a request for a script in it. */
async function asking(podman: Podman, name: string, hash: string, locator = ''): Promise<string> {
  const repository = `${podman.registry.host}/tools/${name}`;
  const { image } = await server.as('ada').images.registerImage({ repository, hash, locator });
  return image?.locator ?? '';
}

/** Registers an image where nobody listens. */
async function nowhere(): Promise<string> {
  const hash = `sha256:${'1'.repeat(64)}`;
  const { image } = await server.as('ada').images.registerImage({ repository: '127.0.0.1:1/tools/first', hash });
  return image?.locator ?? '';
}

const submit = async (
  script: string,
  dockerImage: string,
  more: Partial<Record<keyof CreateJobRequest, unknown>> = {},
) => {
  const { runtimeConstraints, ...others } = more as { runtimeConstraints?: object };
  return uuidOf(
    await request(server.as('ada'), {
      script,
      retry: { lost: 0 },
      scriptParameters: { a: [1, 'ü'] },
      ...others,
      runtimeConstraints: { dockerImage, ...runtimeConstraints },
    }),
  );
};

const jobOf = async (uuid: string) => (await server.as('ada').jobs.getJob({ uuid })).job as Job;
const worker = () => ({ address: server.address(), principal: 'w', repository: ['project', repository.path] as const });
const offer = {
  cores: 1,
  ramMb: 256n,
  scratchMb: 100n,
  imageRuntimes: [runs],
  platform: 'linux/amd64',
  labels: { network: 'no-such-network' },
};

/** Runs a job and gives what became of it, and what it printed. */
async function ran(script: string, locator: string, more: object = {}, known?: Parameters<typeof imagePuller>[1]) {
  const uuid = await submit(script, locator, more);
  await workOnce({ ...worker(), offer: { ...offer, platform: runtime.platform }, images: images(known) });
  return { job: await jobOf(uuid), log: await logOf(uuid) };
}

async function logOf(uuid: string): Promise<string> {
  const { log } = await jobOf(uuid);
  if (log === '') return '';
  let text = '';
  for await (const { data } of server.as('ada').content.readLog({ uuid })) text += Buffer.from(data).toString('utf8');
  return text;
}

const own = (...args: string[]) => execFileSync(runs, args, { encoding: 'utf8' }).trim();
const containers = (...args: string[]) => own('ps', '--all', '--quiet', ...args);

test.serial('a script runs in the image that its job names, and the record says so as the runtime does', async (t) => {
  const podman = there(t);
  if (!podman) return;
  const locator = await asking(podman, 'first', podman.manifest);
  const { job, log } = await ran('facts.sh', locator);
  t.is(job.state, JobState.COMPLETE, `${job.failureMessage}\n${log}`);
  t.like(job.ran, { runtime: runs, runtimeVersion: runtime.version });
  t.deepEqual(
    { ...job.ran?.image },
    {
      ...job.ran?.image,
      locator,
      manifestDigest: podman.manifest,
      configId: podman.id,
      listDigest: '',
      platform: runtime.platform,
    },
  );
  t.true((job.ran?.stagedBytes ?? 0n) > 500n);
  t.true((job.ran?.storedBytes ?? 0n) > BigInt(log.length), `${job.ran?.storedBytes} of ${log.length}`);
  t.truthy(job.ran?.phases?.staged && job.ran.phases.started && job.ran.phases.ran && job.ran.phases.stored);
  if (runtime.ownGroups) t.true((job.ran?.peakRamBytes ?? 0n) > 100_000n && job.ran?.cpuTime !== undefined);
  t.regex(log, /^memoir: pulling the image /m);
  for (const line of [
    '65534',
    'memoir',
    'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    'HOME=/memoir/tmp',
    'MEMOIR_OUTPUT=/memoir/output',
    'PWD=/memoir/tree',
    'FROM_IMAGE=yes',
    'scratch',
    'lo',
    'CapEff:\t0000000000000000',
    'NoNewPrivs:\t1',
  ]) {
    t.true(log.split('\n').includes(line), `${line}\n${log}`);
  }
  // Docker brings them apart.
  if (runs === 'podman') t.regex(log, /one\ntwo\nthree\n$/, 'both streams in their order');
  t.notRegex(log, /wrote into the image|the image spoke|^eth0$/m);
  t.is(containers(), '', 'nothing is left');

  const taken = await ran('takes.sh', locator, {
    scriptParameters: { from: job.output },
    unhashedParameters: { threads: 4 },
  });
  t.is(taken.job.state, JobState.COMPLETE, taken.job.failureMessage);
  t.is(
    taken.log,
    `made\n{"/from":"/memoir/inputs/${job.output.slice('sha256:'.length)}"}\n/memoir/unhashed.json\n{"threads":4}`,
  );

  const again = await ran('facts.sh', locator, { nondeterministic: true });
  t.is(again.job.output, job.output);
  const told = (text: string) => (runs === 'podman' ? text : text.split('\n').sort().join('\n'));
  const first = told(log.replace(/^memoir: .*\n/gm, ''));
  t.is(told(again.log), first, 'the same is found by the next run, which pulls nothing');
});

test.serial('a script in an image is given secrets as files that it may read alone', async (t) => {
  const podman = there(t);
  if (!podman) return;
  const locator = await asking(podman, 'first', podman.manifest);
  const uuid = await submit('secret.sh', locator, { secrets: ['TOKEN@g'] });
  const granted = { name: 'TOKEN', grant: 'g', repositories: ['project'], principals: ['ada'] };
  const held = { ...granted, read: async () => Buffer.from('hunter2') };
  const has = { ...offer, platform: runtime.platform, secrets: [granted] };
  await workOnce({ ...worker(), offer: has, secrets: [held], images: images() });
  const { state, failureMessage } = await jobOf(uuid);
  t.is(state, JobState.COMPLETE, failureMessage);
  t.is((await logOf(uuid)).replaceAll(/^memoir: .*\n/gm, ''), '/memoir/secrets\n7\n***');
});

test.serial(
  'of a list of platforms the member for this one is run, and an image id is pulled by what is registered',
  async (t) => {
    const podman = there(t);
    if (!podman) return;
    const list = await ran('fails.sh', await asking(podman, 'both', podman.list));
    t.like(list.job, { state: JobState.FAILED, failureReason: 'SCRIPT_FAILED' });
    t.regex(list.job.failureMessage, /exited with code 7/);
    t.like(list.job.ran?.image, { listDigest: podman.list, manifestDigest: podman.manifest, configId: podman.id });
    const completed = await ran('facts.sh', await asking(podman, 'both', podman.list));
    t.is(completed.job.state, JobState.COMPLETE, completed.job.failureMessage);

    const byId = await asking(podman, 'first', podman.id, podman.id.slice('sha256:'.length));
    const { resolveImage } = server.as('ada').images;
    const found = await ran('facts.sh', byId, {}, async (dockerImage) => (await resolveImage({ dockerImage })).image);
    t.is(found.job.state, JobState.COMPLETE, found.job.failureMessage);
    t.like(found.job.ran?.image, { locator: byId, configId: podman.id });
  },
);

test.serial('what cannot be run says why, and whose fault that is', async (t) => {
  const podman = there(t);
  if (!podman) return;
  const missing = `sha256:${'0'.repeat(64)}`;
  const first = await asking(podman, 'first', podman.manifest);
  const cases: [what: string, locator: string, reason: string, message: RegExp][] = [
    [
      'no such image',
      await asking(podman, 'none', missing),
      'IMAGE_NOT_PULLED',
      /cannot be had here: .*(not found|unknown)/,
    ],
    ['no registry', await nowhere(), 'IMAGE_NOT_PULLED', /cannot be had here: .*connection refused/],
    [
      'a registry that gives other bytes',
      await asking(podman, 'damaged', podman.damaged),
      'IMAGE_DIGEST_MISMATCH',
      /is not what its digest says: /,
    ],
    [
      'another platform',
      await asking(podman, 'other', podman.other),
      'WRONG_PLATFORM',
      /it is for linux\/s390x, and this worker runs |has no variant for /,
    ],
  ];
  for (const [what, locator, reason, message] of cases) {
    const { job } = await ran('facts.sh', locator);
    t.like(job, { state: JobState.FAILED, failureReason: reason }, `${what}: ${job.failureMessage}`);
    t.is(job.attempts[0]?.fault, Fault.PLACE);
    t.regex(job.failureMessage, message);
  }
  const other = await ran('facts.sh', await asking(podman, 'foreign', podman.foreign));
  t.like(other.job, { failureReason: 'WRONG_PLATFORM' }, other.job.failureMessage);
  const bare = await ran('no-interpreter.sh', first);
  t.like(bare.job, { failureReason: 'SCRIPT_NOT_EXECUTABLE' }, bare.log);
  t.like(bare.job.attempts[0], { fault: Fault.SCRIPT });
  t.regex(
    bare.job.failureMessage,
    /cannot be run in the image: the interpreter that its first line names does not exist there/,
  );

  const own = await ran('125.sh', first);
  t.like(own.job, { failureReason: 'SCRIPT_FAILED' }, own.job.failureMessage);

  // Who asks for a network is given that, here one that there is not.
  const cut = await ran('facts.sh', first, { requiredLabels: { network: 'no-such-network' }, nondeterministic: true });
  t.like(cut.job, { failureReason: 'CONTAINER_NOT_RUN' }, cut.log);
  t.is(cut.job.attempts[0]?.fault, Fault.PLACE);
  t.regex(cut.job.failureMessage, new RegExp(`^${runs} could not run the image: .*no-such-network`));

  // A network that there is.
  const registry = { PORT: podman.registry.host.split(':')[1] ?? '' };
  const answers: string[] = [];
  for (const requiredLabels of [{ network: 'host' }, {} as Record<string, string>]) {
    const uuid = await submit('asks.sh', first, { requiredLabels });
    const labels = { network: 'host' };
    const has = { ...offer, platform: runtime.platform, labels };
    await workOnce({ ...worker(), offer: has, environment: registry, images: images(undefined, undefined, 'host') });
    answers.push(await logOf(uuid));
  }
  t.deepEqual(answers, ['{}\n', 'nobody answers\n'], 'the registry answers who asked for the network alone');

  // A worker that runs none, of a server that gives it the job all the same.
  const uuid = await submit('facts.sh', first);
  await workOnce({ ...worker(), offer: { ...offer, platform: runtime.platform } });
  t.like(await jobOf(uuid), { failureReason: 'NO_IMAGE_RUNTIME' });
  // One whose runtime is there no more.
  const gone = { ...runtime, command: (args: readonly string[]) => runCommand('/nowhere/podman', args) };
  const late = await submit('facts.sh', first, { nondeterministic: true });
  const has = { ...offer, platform: runtime.platform };
  await workOnce({ ...worker(), offer: has, images: images(undefined, gone) });
  t.like(await jobOf(late), { failureReason: 'NO_IMAGE_RUNTIME' });
  t.is((await jobOf(late)).attempts[0]?.fault, Fault.PLACE);
  t.is(containers(), '');
});

test.serial('a child that is killed for memory ends the attempt, though the script goes on', async (t) => {
  const podman = there(t);
  if (!podman) return;
  const first = await asking(podman, 'first', podman.manifest);
  const { job, log } = await ran('memory.sh', first, {
    retry: { failed: 1, ramFactor: 8, minBackoff: { nanos: 1 }, maxBackoff: { nanos: 1 } },
    runtimeConstraints: { minRamMbPerNode: 32 },
  });
  t.regex(log, /went on after 0/);
  t.is(job.attempts[0]?.reason, 'OUT_OF_MEMORY');
  t.regex(
    job.attempts[0]?.message ?? '',
    /a process of "memory.sh" had no memory left and was killed; it may have 32 MiB; it took 3[0-9] MiB at most/,
  );
  t.true((job.attempts[0]?.ran?.peakRamBytes ?? 0n) >= 30_000_000n);
  if (job.state !== JobState.COMPLETE)
    await workOnce({ ...worker(), offer: { ...offer, platform: runtime.platform }, images: images() });
  const after = await jobOf(job.uuid);
  t.is(after.state, JobState.COMPLETE, 'with eight times the memory it is well');
  t.true((after.ran?.peakRamBytes ?? 0n) > 200_000_000n);
  t.truthy(after.ran?.cpuTime);
});

test.serial('who is cancelled is told first, and then all of it is ended', async (t) => {
  const podman = there(t);
  if (!podman) return;
  const first = await asking(podman, 'first', podman.manifest);
  for (const script of ['stays.sh', 'deaf.sh']) {
    const uuid = await submit(script, first);
    const working = workOnce({ ...worker(), offer: { ...offer, platform: runtime.platform }, images: images() });
    await until('it began', async () => {
      for await (const { text } of server.as('ada').jobs.tailJobLog({ uuid })) return text.includes('began');
      return false;
    });
    await server.as('ada').jobs.cancelJob({ uuid });
    await working;
    t.is((await jobOf(uuid)).state, JobState.CANCELLED);
    t.is(containers(), '', script);
  }
});

test.serial('what a worker that was killed left is found by its label, and nothing else', async (t) => {
  const podman = there(t);
  if (!podman) return;
  const first = `${podman.registry.host}/tools/first@${podman.manifest}`;
  const left = (directory: string) =>
    own(
      'run',
      '--detach',
      '--network',
      'none',
      '--label',
      `memoir.work-directory=${directory}`,
      first,
      '/bin/sleep',
      '1000',
    );
  left('/tmp/w/memoir-worker-1');
  const other = left('/tmp/w/memoir-worker-10');
  t.is(await removeLeftovers(runtime, '/tmp/w/memoir-worker-1'), 1);
  t.is(containers('--no-trunc'), other);
  own('kill', other);
  own('rm', '--force', other);
});
