import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JsonObject, MessageInitShape } from '@bufbuild/protobuf';
import type { ExecutionContext } from 'ava';
import { type Program, type Surroundings, startMemoir } from '../../demo/program.js';
import type { Job } from '../../gen/memoir/jobs/v1/job_pb.js';
import { type CreateJobRequestSchema, JobsService } from '../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { connect } from '../../src/rpc/client.js';
import { runMemoir, type Said } from './command.js';
import { makeRepository, type TestRepository, type TestRepositoryOptions } from './git-repository.js';

/** A real server process with a real repository, and real commands against it. */
export type Memoir = {
  readonly repository: TestRepository;
  /** Directory that is removed after the test. */
  readonly directory: string;
  readonly storeDirectory: string;
  readonly address: string;
  /** The server's process; `restart` exchanges it. */
  server(): Program;
  /** Starts a server again on the same data and the same address. */
  restart(): Promise<void>;
  /** Runs a command to its end as principal `ada`. */
  run(args: readonly string[], surroundings?: Surroundings): Promise<Said>;
  /** Starts a command that goes on. */
  start(args: readonly string[], surroundings?: Surroundings): Program;
  /** Starts a worker as principal `worker-1`. */
  worker(...args: readonly string[]): Program;
  /** Submits the script at HEAD as `ada` and gives the job's uuid. */
  submit(
    script: string,
    parameters?: JsonObject,
    more?: MessageInitShape<typeof CreateJobRequestSchema>,
  ): Promise<string>;
  /** The job now. */
  get(uuid: string): Promise<Job>;
};

/**
 * Starts a server on a repository `demo`. Everything ends and goes with the test.
 * @param flags - of `memoir serve`, beside those for the data and the address
 * @param of - how the server is told of the repository; by its path unless given
 * @param kind - what kind of repository it is
 */
export async function startTestServer(
  t: Pick<ExecutionContext, 'teardown'>,
  flags: readonly string[] = [],
  of = (path: string): readonly string[] => ['--repository', `demo=${path}`],
  kind: TestRepositoryOptions = {},
): Promise<Memoir> {
  const repository = makeRepository(kind);
  const directory = mkdtempSync(join(tmpdir(), 'memoir-cli-'));
  const programs: Program[] = [];
  let closeConnection = () => {};
  t.teardown(async () => {
    closeConnection();
    await Promise.all(programs.map((program) => program.stop('SIGKILL')));
    repository.dispose();
    rmSync(directory, { recursive: true, force: true });
  });

  function start(args: readonly string[], surroundings: Surroundings = {}): Program {
    const program = startMemoir(args, surroundings);
    programs.push(program);
    return program;
  }
  async function serve(listen: string): Promise<[Program, string]> {
    const args = ['serve', '--data-dir', join(directory, 'data'), ...of(repository.path), ...flags];
    const program = start([...args, '--listen', listen]);
    return [program, (await program.says(/^ready on (\S+)$/m))[1] ?? ''];
  }
  let [server, address] = await serve('127.0.0.1:0');
  const as = (principal: string, surroundings: Surroundings = {}): Surroundings => ({
    ...surroundings,
    env: { MEMOIR_SERVER: address, MEMOIR_PRINCIPAL: principal, ...surroundings.env },
  });
  const connection = connect(address, 'ada');
  closeConnection = connection.close;
  const jobs = connection.service(JobsService);
  const storeDirectory = join(directory, 'store');

  return {
    repository,
    directory,
    storeDirectory,
    address,
    server: () => server,
    async restart() {
      [server, address] = await serve(address);
    },
    run: (args, surroundings) => runMemoir(args, as('ada', surroundings)),
    start: (args, surroundings) => start(args, as('ada', surroundings)),
    worker: (...args) =>
      start(
        [
          'worker',
          '--repository',
          `demo=${repository.path}`,
          '--store-dir',
          storeDirectory,
          '--work-dir',
          directory,
          ...args,
        ],
        as('worker-1'),
      ),
    async submit(script, scriptParameters = {}, more = {}) {
      const asked = { repository: 'demo', script, scriptVersion: 'HEAD', scriptParameters };
      const { job } = await jobs.createJob({ ...asked, ...more });
      return job?.uuid ?? '';
    },
    async get(uuid) {
      const { job } = await jobs.getJob({ uuid });
      if (!job) throw new Error(`no job ${uuid}`);
      return job;
    },
  };
}

/** Waits until the condition gives something, looking often; fails after the time. */
export async function until<T>(
  condition: () => T | Promise<T>,
  what: string,
  timeoutMs = 30_000,
): Promise<NonNullable<T>> {
  const end = Date.now() + timeoutMs;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`in ${timeoutMs} ms it did not happen that ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
