import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Duration, durationMs, timestampMs } from '@bufbuild/protobuf/wkt';
import { ImagesService } from '../gen/memoir/images/v1/images_service_pb.js';
import { type Job, JobState } from '../gen/memoir/jobs/v1/job_pb.js';
import { JobsService } from '../gen/memoir/jobs/v1/jobs_service_pb.js';
import { connect } from '../src/rpc/client.js';
import { startPodman } from '../test/support/podman.js';
import { percentile } from './percentile.js';
import { makeScene } from './scene.js';
import { table } from './table.js';

// What does it cost to begin an attempt in an image, in a sandbox and in neither, beside the bare process and the runtime's own `run --rm`? How many
// short jobs does a worker with two places run in a second? How long do the checkout and the inputs of a large tree take, and the second time?
//
//     node build/bench/attempts.js [jobs, 100 unless given] [files of the tree, 4000 unless given]
//
// What there is no podman or bubblewrap for is left out.

const [jobs = 100, files = 4_000] = process.argv.slice(2, 4).map(Number);
const trees = 10;
const main = fileURLToPath(new URL('../src/cli/main.js', import.meta.url));

const scene = makeScene();
const repository = join(scene.directory, 'repository');
const git = (...args: string[]) =>
  execFileSync('git', ['-C', repository, '-c', 'user.name=bench', '-c', 'user.email=bench@example.org', ...args]);
const write = (name: string, text: string, mode = 0o755) => writeFileSync(join(repository, name), text, { mode });

/** A script that does nothing: all that its run costs is the attempt's own. */
write('true.sh', '#!/bin/sh\n');
/** Makes a tree of as many files as the checkout has, which then is the input of others. */
write(
  'makes.sh',
  `#!/bin/sh\nn=0; while [ $n -lt ${files} ]; do d="$MEMOIR_OUTPUT/$((n%100))"; mkdir -p $d; echo $n > $d/$n; n=$((n+1)); done\n`,
);
write('takes.sh', `#!/bin/sh\n[ "$(find "$MEMOIR_INPUTS" -type f | wc -l)" -eq ${files} ]\n`);
git('add', '.');
git('commit', '-qm', 'scripts');
// The large tree is on a branch of its own.
git('checkout', '-qb', 'large');
for (let n = 0; n < files; n++) {
  if (n < 100) mkdirSync(join(repository, `src/${n}`), { recursive: true });
  write(`src/${n % 100}/${n}.txt`, `line of file ${n}\n`.repeat(1 + (n % 500)), 0o644);
}
git('add', '.');
git('commit', '-qm', 'tree');
git('checkout', '-q', 'main');

const podman = await startPodman();
const isThere = (program: string) => spawnSync(program, ['--version']).status === 0;
const image = typeof podman === 'string' ? '' : `${podman.registry.host}/tools/first@${podman.manifest}`;
const modes = [
  { name: '--sandbox none', options: ['--sandbox', 'none'], image: '' },
  ...(isThere('bwrap') ? [{ name: '--sandbox bwrap', options: ['--sandbox', 'bwrap'], image: '' }] : []),
  ...(image === '' ? [] : [{ name: '--image-runtime podman', options: ['--image-runtime', 'podman'], image }]),
];

/** How often something that is waited for is looked at, in milliseconds. */
const look = 20;

const memoir = await scene.serve('attempts', async () => undefined);
const address = `127.0.0.1:${memoir.port}`;
const connection = connect(address, 'bench');
const client = connection.service(JobsService);

try {
  if (typeof podman === 'object') {
    const { registerImage } = connection.service(ImagesService);
    await registerImage({ repository: `${podman.registry.host}/tools/first`, hash: podman.manifest });
  }
  process.stdout.write(`${jobs} jobs, a tree of ${files} files\n`);
  const bare = times(() => execFileSync(join(repository, 'true.sh')));
  const rows = [['the bare process', '', milliseconds(bare, 0.5), milliseconds(bare, 0.95), '']];
  if (image !== '') {
    execFileSync('podman', ['pull', '--quiet', image]);
    const run = ['run', '--rm', '--network', 'none', image, '/bin/sh', '-c', ':'];
    const own = times(() => execFileSync('podman', run), 30);
    rows.push(['podman run --rm', '', milliseconds(own, 0.5), milliseconds(own, 0.95), '']);
  }
  for (const mode of modes) {
    // The first is not counted: an image is looked up, caches are cold.
    await worked(mode.options, [await submit('true.sh', mode.image)]);
    const uuids: string[] = [];
    for (let n = 0; n < jobs; n++) uuids.push(await submit('true.sh', mode.image));
    const done = await worked(mode.options, uuids, 2);
    const attempts = done.flatMap(({ attempts }) => attempts);
    const began = Math.min(...attempts.map(({ startedAt }) => (startedAt ? timestampMs(startedAt) : Number.NaN)));
    const ended = Math.max(...attempts.map(({ endedAt }) => (endedAt ? timestampMs(endedAt) : Number.NaN)));
    const rate = (1_000 * jobs) / (ended - began);
    const runs = done.map(({ ran }) => phase(ran?.phases?.ran));
    const starts = done.map(({ ran }) => phase(ran?.phases?.started));
    rows.push([
      mode.name,
      rate.toFixed(1),
      milliseconds(runs, 0.5),
      milliseconds(runs, 0.95),
      milliseconds(starts, 0.5),
    ]);
  }
  const head = ['a script that does nothing', 'jobs/s', 'ran p50 ms', 'p95 ms', 'made ready p50 ms'];
  process.stdout.write(`${table(head, rows)}\n`);

  const made = await worked(['--sandbox', 'none'], [await submit('makes.sh', '')]);
  const from = made[0]?.output ?? '';
  const staged: string[][] = [];
  const stage = async (
    name: string,
    { name: mode, options, image }: (typeof modes)[number],
    script: string,
    more: object,
  ) => {
    const uuids: string[] = [];
    for (let n = 0; n < trees; n++) uuids.push(await submit(script, image, more));
    const [first = Number.NaN, ...others] = (await worked(options, uuids)).map(({ ran }) => phase(ran?.phases?.staged));
    staged.push([`${name}, ${mode}`, first.toFixed(0), milliseconds(others, 0.5), milliseconds(others, 0.95)]);
  };
  for (const mode of modes) {
    await stage('no more than the script', mode, 'true.sh', {});
    await stage(`a checkout of ${files} files`, mode, 'true.sh', { scriptVersion: 'large' });
    await stage(`an input of ${files} files`, mode, 'takes.sh', { scriptParameters: { from } });
  }
  process.stdout.write(`${table(['staged, ms', 'first', 'then p50', 'p95'], staged)}\n`);
} finally {
  connection.close();
  await memoir.stop();
  if (typeof podman === 'object') await podman.dispose();
  else process.stdout.write(`${podman}\n`);
  scene.dispose();
}

async function submit(script: string, dockerImage: string, more: object = {}): Promise<string> {
  const request = { repository: 'bench', script, scriptVersion: 'main', ...more, runtimeConstraints: { dockerImage } };
  const { job } = await client.createJob(request);
  return job?.uuid ?? '';
}

/** Has jobs run by a worker of their own, which is there before they are waited for. Gives them when the last has ended. */
async function worked(options: readonly string[], uuids: readonly string[], places = 1) {
  const work = join(scene.directory, 'work');
  mkdirSync(work, { recursive: true });
  const all = [
    '--server',
    address,
    '--repository',
    `bench=${repository}`,
    '--work-dir',
    work,
    '--jobs',
    String(places),
  ];
  const worker = spawn(process.execPath, [main, 'worker', ...all, ...options, '--log-level', 'error'], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const gone = new Promise((resolve) => worker.once('exit', resolve));
  try {
    const done: Job[] = [];
    for (const uuid of uuids) {
      for (;;) {
        const { job } = await client.getJob({ uuid });
        if (job?.state === JobState.FAILED) throw new Error(`${job.script} failed: ${job.failureMessage}`);
        if (job?.state === JobState.COMPLETE) {
          done.push(job);
          break;
        }
        if (worker.exitCode !== null) throw new Error(`the worker ended with ${worker.exitCode}`);
        await new Promise((resolve) => setTimeout(resolve, look));
      }
    }
    return done;
  } finally {
    worker.kill();
    await gone;
    rmSync(work, { recursive: true, force: true });
  }
}

function times(work: () => unknown, count = 100): number[] {
  work();
  return Array.from({ length: count }, () => {
    const before = performance.now();
    work();
    return performance.now() - before;
  });
}

function milliseconds(samples: readonly number[], part: number): string {
  return percentile(samples, part).toFixed(1);
}

function phase(lasted: Duration | undefined): number {
  return lasted ? durationMs(lasted) : Number.NaN;
}
