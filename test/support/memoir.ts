import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JsonObject, MessageInitShape } from '@bufbuild/protobuf';
import test, { type ExecutionContext } from 'ava';
import { type Program, type Surroundings, startMemoir } from '../../demo/program.js';
import type { Job } from '../../gen/memoir/jobs/v1/job_pb.js';
import { type CreateJobRequestSchema, JobsService } from '../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { filterFromTriple } from '../../src/domain/filters/from-triple.js';
import { connect, type ServiceClient } from '../../src/rpc/client.js';
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

const unfinished = [filterFromTriple(['state', 'in', ['Queued', 'Running']])];

/** A server that several tests may use, one after the other. */
type Serving = {
  readonly repository: TestRepository;
  readonly address: string;
  readonly jobs: ServiceClient<typeof JobsService.method>;
  server(): Program;
  restart(): Promise<void>;
  /** Ends it; what is on the disk goes with it. */
  end(): Promise<void>;
};

/** How a server is started. */
type Flags = {
  /** Flags of `memoir serve`, beside those for the data and the address. */
  readonly flags?: readonly string[] | undefined;
  /** How the server is told of the repository; by its path unless given. */
  readonly of?: ((path: string) => readonly string[]) | undefined;
  /** What kind of repository it is. */
  readonly kind?: TestRepositoryOptions | undefined;
};

async function serve(directory: string, { flags = [], of = byPath, kind }: Flags): Promise<Serving> {
  const repository = makeRepository(kind);
  const programs: Program[] = [];
  async function begin(listen: string): Promise<[Program, string]> {
    const args = ['serve', '--data-dir', join(directory, 'data'), ...of(repository.path), ...flags];
    const program = startMemoir([...args, '--listen', listen]);
    programs.push(program);
    return [program, (await program.says(/^ready on (\S+)$/m))[1] ?? ''];
  }
  let [server, address] = await begin('127.0.0.1:0');
  const connection = connect(address, 'ada');
  return {
    repository,
    address,
    jobs: connection.service(JobsService),
    server: () => server,
    async restart() {
      [server, address] = await begin(address);
    },
    async end() {
      connection.close();
      await Promise.all(programs.map((program) => program.stop('SIGKILL')));
      repository.dispose();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

const byPath = (path: string): readonly string[] => ['--repository', `demo=${path}`];

/** The server as one test has it, with a directory and a store of its own. What the test started ends with `end`. */
function memoirAt(serving: Serving, directory: string): { memoir: Memoir; end(): Promise<void> } {
  const { repository, address, jobs } = serving;
  const programs: Program[] = [];
  function start(args: readonly string[], surroundings: Surroundings = {}): Program {
    const program = startMemoir(args, surroundings);
    programs.push(program);
    return program;
  }
  const as = (principal: string, surroundings: Surroundings = {}): Surroundings => ({
    ...surroundings,
    env: { MEMOIR_SERVER: address, MEMOIR_PRINCIPAL: principal, ...surroundings.env },
  });
  const storeDirectory = join(directory, 'store');
  const memoir: Memoir = {
    repository,
    directory,
    storeDirectory,
    address,
    server: serving.server,
    restart: serving.restart,
    run: (args, surroundings) => runMemoir(args, as('ada', surroundings)),
    start: (args, surroundings) => start(args, as('ada', surroundings)),
    worker: (...args) =>
      start(
        ['worker', ...byPath(repository.path), '--store-dir', storeDirectory, '--work-dir', directory, ...args],
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
  return {
    memoir,
    async end() {
      await Promise.all(programs.map((program) => program.stop('SIGKILL')));
    },
  };
}

/**
 * Starts a server on a repository `demo`. Everything ends and goes with the test.
 * @param flags - of `memoir serve`, beside those for the data and the address
 * @param of - how the server is told of the repository; by its path unless given
 * @param kind - what kind of repository it is
 */
export async function startTestServer(
  t: Pick<ExecutionContext, 'teardown'>,
  flags?: Flags['flags'],
  of?: Flags['of'],
  kind?: Flags['kind'],
): Promise<Memoir> {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-cli-'));
  const serving = await serve(directory, { flags, of, kind });
  const { memoir, end } = memoirAt(serving, directory);
  t.teardown(async () => {
    await end();
    await serving.end();
  });
  return memoir;
}

/**
 * One server for the tests of a file that run one after the other: what each of them gets has a directory and a store of its own, and
 * begins with nothing queued. What a test started ends with it.
 */
export function memoirOfFile(): (t: Pick<ExecutionContext, 'teardown'>) => Promise<Memoir> {
  const root = mkdtempSync(join(tmpdir(), 'memoir-cli-'));
  let serving: Serving | undefined;
  test.serial.after.always(() => serving?.end());
  let tests = 0;
  return async (t) => {
    serving ??= await serve(root, {});
    const { jobs } = serving;
    const directory = join(root, `test-${++tests}`);
    mkdirSync(directory);
    const { memoir, end } = memoirAt(serving, directory);
    t.teardown(async () => {
      await end();
      const { jobs: left } = await jobs.listJobs({ filters: unfinished, pageSize: 1_000 });
      // What ended meanwhile needs no cancellation.
      for (const { uuid } of left) await jobs.cancelJob({ uuid }).catch(() => undefined);
    });
    return memoir;
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
