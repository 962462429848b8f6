import { readFile } from 'node:fs/promises';
import { buffer as readAll } from 'node:stream/consumers';
import type { JsonObject, MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { Command } from 'commander';
import type { Job, RuntimeConstraintsSchema } from '../../gen/memoir/jobs/v1/job_pb.js';
import { type CreateJobResponse, CreateJobResponseSchema } from '../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { invalid, quote } from '../domain/errors.js';
import { type Clients, withClients } from './client.js';
import { decisionLine, evidenceLines } from './decision-text.js';
import { versionText } from './job-view.js';
import { streamLog } from './log.js';
import { integer, named, type RemoteOptions, remote, repeated, seconds, withJson } from './options.js';
import { note, printLine, printMessage } from './output.js';
import { parseParameter, parseParameters } from './parameters.js';
import { printable, printableLines } from './printable.js';
import { stateText, styled } from './style.js';
import { resultCode, waitWithProgress } from './wait.js';

type SubmitOptions = RemoteOptions & {
  readonly repository: string;
  readonly script: string;
  readonly scriptVersion: string;
  readonly param?: readonly string[];
  readonly parameters?: string;
  readonly alwaysNew?: boolean;
  readonly minimumScriptVersion?: string;
  readonly excludeScriptVersion?: readonly string[];
  readonly maxHeartbeatAge?: number;
  readonly nondeterministic?: boolean;
  readonly priority: number;
  readonly submitId?: string;
  readonly description?: string;
  readonly component?: Readonly<Record<string, string>>;
  readonly dockerImage?: string;
  readonly dockerImageTag?: string;
  readonly arvadosSdkVersion?: string;
  readonly minNodes?: number;
  readonly maxNodes?: number;
  readonly minCoresPerNode?: number;
  readonly minRamMbPerNode?: number;
  readonly minScratchMbPerNode?: number;
  readonly maxTasksPerNode?: number;
  readonly keepCacheMbPerTask?: number;
  readonly wait?: boolean;
  readonly follow?: boolean;
  readonly verbose?: boolean;
  readonly json?: boolean;
};

const count = integer(0, 0xffff_ffff);

/** `memoir submit`. */
export function submitCommand(): Command {
  const command = new Command('submit')
    .description('run a script, or be answered with a job that is the same work')
    .requiredOption('--repository <name>', 'repository, as the server names it')
    .requiredOption('--script <path>', "the script's path in the repository")
    .option('--script-version <refspec>', 'commit, branch, tag or other refspec to take the script from', 'HEAD')
    .option('-p, --param <name=value>', 'a parameter; its value is JSON, or else a string (repeatable)', repeated)
    .option('--parameters <file>', 'JSON object of parameters, "-" for standard input; -p overrides its members')
    .option('--find-or-create', 'answer with a past or running job that is the same work, if there is one (default)')
    .option('--always-new', 'record a new job in any case')
    .option('--minimum-script-version <refspec>', 'accept a job of any commit from this one to --script-version')
    .option('--exclude-script-version <refspec>', 'accept no job of this commit (repeatable)', repeated)
    .option('--max-heartbeat-age <seconds>', 'accept no running job that was silent for longer', seconds(0, 1e8))
    .option('--nondeterministic', 'two runs may differ: do not reuse the job')
    .option('--priority <number>', 'the higher, the sooner it is run', integer(-0x8000_0000, 0x7fff_ffff), 0)
    .option('--submit-id <id>', 'your own identifier of this request, so that it can be repeated safely')
    .option('--description <text>', 'free text for people')
    .option('--component <name=uuid>', 'a job that this one starts (repeatable)', named)
    .option('--docker-image <image>', 'docker image by hash, repository or repository:tag')
    .option('--docker-image-tag <tag>', 'tag of the docker image')
    .option('--arvados-sdk-version <refspec>', 'version of the Arvados SDK; needs --docker-image')
    .option('--min-nodes <number>', 'fewest nodes', count)
    .option('--max-nodes <number>', 'most nodes', count)
    .option('--min-cores-per-node <number>', 'fewest cores of each node', count)
    .option('--min-ram-mb-per-node <MiB>', 'least memory of each node', count)
    .option('--min-scratch-mb-per-node <MiB>', 'least scratch disk of each node', count)
    .option('--max-tasks-per-node <number>', 'most tasks at a time on a node', count)
    .option('--keep-cache-mb-per-task <MiB>', 'cache memory of each task', count)
    .option('--wait', 'wait until the job has finished; the exit code tells how')
    .option('--follow', 'print the live log while waiting')
    .option('--verbose', 'print what the decision was made from: names resolved, and every candidate');
  return remote(withJson(command)).action(async (options: SubmitOptions) => {
    if (options.alwaysNew && 'findOrCreate' in options) {
      throw invalid('find_or_create', 'BAD_OPTIONS', '--always-new and --find-or-create exclude each other');
    }
    if (options.follow && options.json) {
      throw invalid('', 'BAD_OPTIONS', '--follow and --json exclude each other; use `memoir log --json`');
    }
    const scriptParameters = await parametersOf(options);
    await withClients(options, (clients) => submit(clients, options, scriptParameters));
  });
}

async function submit(clients: Clients, options: SubmitOptions, scriptParameters: JsonObject): Promise<void> {
  const runtimeConstraints = constraintsOf(options);
  const answer = await clients.jobs.createJob(
    {
      repository: options.repository,
      script: options.script,
      scriptVersion: options.scriptVersion,
      scriptParameters,
      findOrCreate: !options.alwaysNew,
      minimumScriptVersion: options.minimumScriptVersion ?? '',
      excludeScriptVersions: [...(options.excludeScriptVersion ?? [])],
      ...(options.maxHeartbeatAge !== undefined && {
        maxHeartbeatAge: durationFromMs(options.maxHeartbeatAge * 1_000),
      }),
      nondeterministic: options.nondeterministic ?? false,
      priority: options.priority,
      submitId: options.submitId ?? '',
      description: options.description ?? '',
      components: { ...options.component },
      ...(runtimeConstraints && { runtimeConstraints }),
    },
    clients.unary,
  );
  const { job } = answer;
  if (!job) throw new Error('the server answered without a job');
  const waits = options.wait === true || options.follow === true;
  if (!options.json) await printAnswer(answer, job, options.verbose === true);
  if (waits) {
    if (options.follow) await streamLog(clients, { uuid: job.uuid });
    answer.job = await waitWithProgress(clients, job, answer.consistencyToken);
    process.exitCode = resultCode(answer.job);
    if (!options.json) await printResult(answer.job);
  }
  if (options.json) await printMessage(CreateJobResponseSchema, answer);
}

async function printAnswer(answer: CreateJobResponse, job: Job, verbose: boolean): Promise<void> {
  const kind = answer.reused ? styled('green', 'reused') : styled('yellow', 'new');
  await printLine(`${kind} ${printable(job.uuid)} ${stateText(job.state)}`);
  await printLine(`  version: ${versionText(job)}`);
  await printLine(`  why: ${decisionLine(answer.decision)}`);
  if (job.output !== '') await printLine(`  output: ${printable(job.output)}`);
  if (verbose) for (const line of evidenceLines(answer.decision)) await printLine(`  ${line}`);
}

async function printResult(job: Job): Promise<void> {
  await printLine(`${stateText(job.state)} ${printable(job.uuid)}`);
  if (job.output !== '') await printLine(`  output: ${printable(job.output)}`);
  if (job.failureReason !== '') {
    note(`${printable(job.failureReason)}: ${printableLines(job.failureMessage)}`);
  }
}

async function parametersOf(options: SubmitOptions): Promise<JsonObject> {
  const members = new Map(
    options.parameters === undefined ? [] : Object.entries(await parametersFrom(options.parameters)),
  );
  const given = new Set<string>();
  for (const text of options.param ?? []) {
    const [name, value] = parseParameter(text);
    if (given.has(name)) throw invalid('script_parameters', 'BAD_PARAMETERS', `-p ${quote(name)} is given twice`);
    given.add(name);
    members.set(name, value);
  }
  return Object.fromEntries(members);
}

async function parametersFrom(file: string): Promise<JsonObject> {
  const source = file === '-' ? 'standard input' : `--parameters ${quote(file)}`;
  let bytes: Buffer;
  try {
    bytes = file === '-' ? await readAll(process.stdin) : await readFile(file);
  } catch (error) {
    throw invalid('script_parameters', 'UNREADABLE_FILE', `${source}: ${(error as Error).message}`);
  }
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw invalid('script_parameters', 'BAD_PARAMETERS', `${source}: not UTF-8`);
  }
  return parseParameters(text, source);
}

function constraintsOf(options: SubmitOptions): MessageInitShape<typeof RuntimeConstraintsSchema> | undefined {
  const { dockerImage, dockerImageTag, arvadosSdkVersion } = options;
  const { minNodes, maxNodes, minCoresPerNode, minRamMbPerNode, minScratchMbPerNode } = options;
  const { maxTasksPerNode, keepCacheMbPerTask } = options;
  const all = {
    dockerImage,
    dockerImageTag,
    arvadosSdkVersion,
    minNodes,
    maxNodes,
    minCoresPerNode,
    minRamMbPerNode,
    minScratchMbPerNode,
    maxTasksPerNode,
    keepCacheMbPerTask,
  };
  const given = Object.entries(all).filter(([, value]) => value !== undefined);
  return given.length === 0 ? undefined : Object.fromEntries(given);
}
