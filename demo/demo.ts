import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JsonObject } from '@bufbuild/protobuf';
import { JobState } from '../gen/memoir/jobs/v1/job_pb.js';
import { type CreateJobResponse, JobsService } from '../gen/memoir/jobs/v1/jobs_service_pb.js';
import { waitUntilFinished } from '../src/cli/jobs/wait.js';
import { stateName } from '../src/domain/job.js';
import { connect } from '../src/rpc/client.js';
import { type Program, startMemoir } from './program.js';
import { makeDemoRepository, scriptPath } from './repository.js';

/** Ends the demonstration when something did not happen as it is told. */
function expect(holds: boolean, what: string): void {
  if (!holds) throw new Error(`not as told: ${what}`);
}

function say(text = ''): void {
  process.stdout.write(`${text}\n`);
}

async function timed<T>(work: () => Promise<T>): Promise<[value: T, ms: number]> {
  const start = performance.now();
  const value = await work();
  return [value, performance.now() - start];
}

async function tell(directory: string, running: Program[]): Promise<void> {
  const start = (args: readonly string[]) => {
    const program = startMemoir(args);
    running.push(program);
    return program;
  };
  const repository = join(directory, 'primes');
  const commit = await makeDemoRepository(repository, Math.floor(Date.now() / 1_000));
  say(`A git repository: ${scriptPath} in commit ${commit}, which is branch main and tag v1.0.`);

  const [address, startMs] = await timed(async () => {
    const serve = start([
      ...['serve', '--data-dir', join(directory, 'data'), '--listen', '127.0.0.1:0'],
      ...['--repository', `primes=${repository}`],
    ]);
    return (await serve.says(/^ready on (\S+)$/m))[1] ?? '';
  });
  say(`A server on ${address}, ready ${startMs.toFixed(0)} ms after its process was started.`);
  start([
    ...['worker', '--server', address, '--repository', `primes=${repository}`],
    ...['--store-dir', join(directory, 'store'), '--principal', 'worker-1'],
  ]);
  say('A worker, which waits for jobs.');

  const connection = connect(address, 'ada');
  try {
    const jobs = connection.service(JobsService);
    const submit = (scriptVersion: string, scriptParameters: JsonObject) =>
      timed(() =>
        jobs.createJob({
          repository: 'primes',
          script: scriptPath,
          scriptVersion,
          scriptParameters,
          findOrCreate: true,
        }),
      );
    const finished = (answer: CreateJobResponse) => {
      if (!answer.job) throw new Error('the server answered without a job');
      return waitUntilFinished({ jobs }, answer.job, answer.consistencyToken, () => {});
    };

    say('\n1. ada asks for the primes up to 300,000.');
    const parameters = { limit: 300_000, method: 'trial division' };
    const [first, firstMs] = await submit('main', parameters);
    const [job, runMs] = await timed(() => finished(first));
    expect(!first.reused && first.decision !== undefined, 'the first submission is a new job');
    expect(
      job.state === JobState.COMPLETE,
      `the job completes, but it is ${stateName(job.state)} ${job.failureMessage}`,
    );
    expect(job.scriptVersion === commit, 'the branch is resolved to its commit');
    say(`   new job ${job.uuid}, recorded in ${firstMs.toFixed(1)} ms: ${first.decision?.summary}`);
    say(`   ${stateName(job.state)} ${runMs.toFixed(0)} ms later, output ${job.output}`);
    const manifest = await readContent(directory, job.output);
    say(`   which is ${manifest}`);

    say('\n2. The same work under other names of the same commit, and with the parameters in another order.');
    const reordered = { method: 'trial division', limit: 300_000 };
    for (const [name, version] of [
      ['the branch', 'main'],
      ['an abbreviation', commit.slice(0, 8)],
      ['the tag', 'v1.0'],
      ['the whole hash', commit],
    ] as const) {
      const [again, ms] = await submit(version, reordered);
      expect(again.reused && again.job?.uuid === job.uuid, `${name} ${version} is answered with the same job`);
      expect(again.job?.output === job.output, `${name} ${version} is answered with the output`);
      say(
        `   ${name} ${version}: reused in ${ms.toFixed(1)} ms instead of ${runMs.toFixed(0)} ms: ${again.decision?.summary}`,
      );
    }

    say('\n3. Another parameter is other work.');
    const [other, otherMs] = await submit('v1.0', { ...parameters, limit: 200_000 });
    expect(!other.reused && other.job?.uuid !== job.uuid, 'another parameter makes a new job');
    say(`   new job ${other.job?.uuid}, recorded in ${otherMs.toFixed(1)} ms: ${other.decision?.summary}`);
    const otherJob = await finished(other);
    expect(otherJob.state === JobState.COMPLETE && otherJob.output !== job.output, 'it has an output of its own');
    say(`   ${stateName(otherJob.state)}, output ${otherJob.output}`);

    say(`\n4. What was recorded of the first job: memoir history ${job.uuid}\n`);
    const history = start(['history', job.uuid, '--server', address]);
    expect((await history.ended()) === 0, 'its history can be read');
    const answered = history
      .output()
      .split('\n')
      .filter((line) => line.includes('was answered with it'));
    expect(answered.length === 4, `all four answers are in the history, not ${answered.length}`);
    say(history.output().trimEnd().replace(/^/gm, '   '));
  } finally {
    connection.close();
  }
}

/** A blob of the worker's store. */
async function readContent(directory: string, address: string): Promise<string> {
  const digest = address.slice('sha256:'.length);
  return readFile(join(directory, 'store', 'sha256', digest.slice(0, 2), digest.slice(2)), 'utf8');
}

const directory = await mkdtemp(join(tmpdir(), 'memoir-demo-'));
const running: Program[] = [];
const began = performance.now();
try {
  await tell(directory, running);
  for (const program of running.reverse()) {
    const code = await program.stop();
    expect(code === 0, `every process ends well, but one had exit code ${code}`);
  }
  say(`\nAll as told, in ${((performance.now() - began) / 1_000).toFixed(1)} s.`);
} catch (error) {
  process.exitCode = 1;
  process.stderr.write(`${(error as Error).message}\n`);
} finally {
  for (const program of running) await program.stop();
  await rm(directory, { recursive: true, force: true });
}
