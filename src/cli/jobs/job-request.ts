import { createReadStream } from 'node:fs';
import type { JsonObject, JsonValue, MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { type Command, Option } from 'commander';
import type { RetryPolicySchema } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import type { RuntimeConstraintsSchema } from '../../../gen/memoir/jobs/v1/job_pb.js';
import type { CreateJobRequestSchema } from '../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { invalid, quote } from '../../domain/errors.js';
import { pointerPart } from '../../domain/json.js';
import { bubblewrap } from '../../domain/ran/ran-in.js';
import { openPuts, type Puts } from '../content/put/puts.js';
import { decimal, integer, named, repeated, seconds } from '../options.js';
import { filtersOf } from './filter-option.js';
import { parseParameter, parseParameters, putParameter } from './parameters.js';

/** What a request for a job is made of on the command line. */
export type JobRequestOptions = {
  readonly repository?: string;
  readonly script?: string;
  readonly scriptVersion: string;
  readonly code?: readonly string[];
  readonly wholeCommit?: boolean;
  readonly param?: readonly string[];
  readonly parameters?: string;
  readonly minimumScriptVersion?: string;
  readonly excludeScriptVersion?: readonly string[];
  readonly maxHeartbeatAge?: number;
  readonly nondeterministic?: boolean;
  readonly leaveLfsPointers?: boolean;
  readonly leaveSubmodules?: boolean;
  readonly requireOutput?: boolean;
  readonly priority: number;
  readonly submitId?: string;
  readonly description?: string;
  readonly component?: Readonly<Record<string, string>>;
  readonly label?: Readonly<Record<string, string>>;
  readonly requireLabel?: Readonly<Record<string, string>>;
  readonly dockerImage?: string;
  readonly dockerImageTag?: string;
  readonly arvadosSdkVersion?: string;
  readonly platform?: string;
  readonly sandbox?: string;
  readonly minNodes?: number;
  readonly maxNodes?: number;
  readonly minCoresPerNode?: number;
  readonly minRamMbPerNode?: number;
  readonly minScratchMbPerNode?: number;
  readonly maxTasksPerNode?: number;
  readonly keepCacheMbPerTask?: number;
  readonly filter?: readonly string[];
  readonly retryLost?: number;
  readonly retryFailed?: number;
  readonly retryMinBackoff?: number;
  readonly retryMaxBackoff?: number;
  readonly retryRamFactor?: number;
  readonly runLimit?: number;
  readonly queueLimit?: number;
  readonly outputTtl?: number;
  readonly secret?: readonly string[];
  readonly supersede?: boolean;
  readonly maxResultAge?: number;
  readonly unhashed?: readonly string[];
};

/** Most bytes of parameters that are read: five times what fits into a request of any server, so that they may be indented. */
const mostParameterBytes = 16 * 1024 ** 2;

const count = integer(0, 0xffff_ffff);
const again = integer(0, 100);
const backoff = seconds(0, 7 * 86_400);
const longest = seconds(1, 366 * 86_400);

/** Adds the options of `JobRequestOptions`. */
export function jobRequest(command: Command): Command {
  return command
    .requiredOption('--repository <name>', 'repository, as the server names it')
    .requiredOption('--script <path>', "the script's path in the repository")
    .option('--script-version <refspec>', 'commit, branch, tag or other refspec to take the script from', 'HEAD')
    .option(
      '--code <path>',
      'a file or directory that the script needs of its repository: the job sees nothing else, and is found again by what is there (repeatable)',
      repeated,
    )
    .option('--whole-commit', 'let the job see the whole commit although the repository has code paths of its own')
    .option(
      '-p, --param <name=value>',
      'a parameter; its value is JSON, or @put:PATH to leave a file or directory with the server as an input, or else a string (repeatable)',
      repeated,
    )
    .option('--parameters <file>', 'JSON object of parameters, "-" for standard input; -p overrides its members')
    .option(
      '--unhashed <name=value>',
      'a parameter that can change nothing of the output, such as threads=8, and is no part of what is compared (repeatable)',
      repeated,
    )
    .option('--minimum-script-version <refspec>', 'accept a job of any commit from this one to --script-version')
    .option('--exclude-script-version <refspec>', 'accept no job of this commit (repeatable)', repeated)
    .option(
      '--filter <json>',
      'accept jobs by filters instead, as ["attribute","operator",operand] (repeatable)',
      repeated,
    )
    .option('--max-heartbeat-age <seconds>', 'accept no running job that was silent for longer', seconds(0, 1e8))
    .option('--max-result-age <seconds>', 'accept no job that completed longer ago', seconds(0, 1e10))
    .option('--supersede', 'run it again, and let that be the answer from then on in the place of earlier runs')
    .option('--nondeterministic', 'two runs may differ: the job is not reused, and submit makes a new one')
    .option('--leave-lfs-pointers', 'leave pointers of git-lfs in the commit as they are; otherwise they fail the job')
    .option('--leave-submodules', 'leave submodules of the commit empty; otherwise they fail the job')
    .option('--require-output', 'fail a run that leaves no file in its output, and reuse no job that did')
    .option('--priority <number>', 'the higher, the sooner it is run', integer(-0x8000_0000, 0x7fff_ffff), 0)
    .option('--submit-id <id>', 'your own identifier of this request, so that it can be repeated safely')
    .option('--description <text>', 'free text for people')
    .option('--label <name=value>', 'what the job is to be found by, such as team=imaging (repeatable)', named)
    .option('--require-label <name=value>', 'a label that a worker must have to be given the job (repeatable)', named)
    .option('--component <name=uuid>', 'a job that this one starts (repeatable)', named)
    .option('--docker-image <image>', 'docker image by hash, repository or repository:tag')
    .option('--docker-image-tag <tag>', 'tag of the docker image')
    .option('--arvados-sdk-version <refspec>', 'version of the Arvados SDK; needs --docker-image')
    .option('--platform <os/arch>', 'platform that the image is to run on, such as linux/amd64 (default: any)')
    .addOption(
      new Option(
        '--sandbox <name>',
        'what keeps the run apart from the rest of the machine; an image is as good',
      ).choices([bubblewrap]),
    )
    .option('--retry-lost <number>', 'attempts after ones that ended by no fault of the script (default: 3)', again)
    .option('--retry-failed <number>', 'attempts after ones that the script failed (default: 0)', again)
    .option('--retry-min-backoff <seconds>', 'shortest time between attempts, doubled with each (default: 1)', backoff)
    .option('--retry-max-backoff <seconds>', 'longest time between attempts (default: 300)', backoff)
    .option(
      '--retry-ram-factor <number>',
      'what the least memory grows by after OUT_OF_MEMORY (default: 1)',
      decimal(1, 16),
    )
    .option('--run-limit <seconds>', 'longest run of an attempt; then it fails with RUN_LIMIT', longest)
    .option(
      '--queue-limit <seconds>',
      'longest time until it is run for the first time; then it is not wanted any more',
      longest,
    )
    .option(
      '--output-ttl <seconds>',
      'how long the output is to stay at least, once the job has ended',
      seconds(0, 36_525 * 86_400),
    )
    .option(
      '--secret <name[@grant]>',
      'a secret that the run is given as a file in MEMOIR_SECRETS (repeatable)',
      repeated,
    )
    .option('--min-nodes <number>', 'fewest nodes', count)
    .option('--max-nodes <number>', 'most nodes', count)
    .option('--min-cores-per-node <number>', 'fewest cores of each node', count)
    .option('--min-ram-mb-per-node <MiB>', 'least memory of each node', count)
    .option('--min-scratch-mb-per-node <MiB>', 'least scratch disk of each node', count)
    .option('--max-tasks-per-node <number>', 'most tasks at a time on a node', count)
    .option('--keep-cache-mb-per-task <MiB>', 'cache memory of each task', count);
}

/**
 * The request that the options describe. Files of parameters `@put:PATH` are hashed, and to be uploaded by `puts` before it is sent.
 * @throws MemoirError INVALID_ARGUMENT naming the option or the file that is wrong, and its value
 */
export async function requestOf(
  options: JobRequestOptions,
  puts: Puts = openPuts(),
): Promise<MessageInitShape<typeof CreateJobRequestSchema>> {
  const { parameters: scriptParameters, inputs } = await parametersOf(options, puts);
  const runtimeConstraints = constraintsOf(options);
  const retry = retryOf(options);
  const { runLimit, queueLimit, outputTtl } = options;
  return {
    repository: options.repository ?? '',
    script: options.script ?? '',
    scriptVersion: options.scriptVersion,
    codePaths: [...(options.code ?? [])],
    wholeCommit: options.wholeCommit ?? false,
    scriptParameters,
    inputs,
    ...(options.unhashed && { unhashedParameters: unhashedOf(options.unhashed) }),
    secrets: [...(options.secret ?? [])],
    minimumScriptVersion: options.minimumScriptVersion ?? '',
    excludeScriptVersions: [...(options.excludeScriptVersion ?? [])],
    filters: filtersOf(options.filter),
    ...(options.maxHeartbeatAge !== undefined && {
      maxHeartbeatAge: durationFromMs(options.maxHeartbeatAge * 1_000),
    }),
    ...(options.maxResultAge !== undefined && { maxResultAge: durationFromMs(options.maxResultAge * 1_000) }),
    supersede: options.supersede ?? false,
    nondeterministic: options.nondeterministic ?? false,
    leaveLfsPointers: options.leaveLfsPointers ?? false,
    leaveSubmodules: options.leaveSubmodules ?? false,
    requireOutput: options.requireOutput ?? false,
    priority: options.priority,
    submitId: options.submitId ?? '',
    description: options.description ?? '',
    components: { ...options.component },
    labels: { ...options.label },
    requiredLabels: { ...options.requireLabel },
    ...(runtimeConstraints && { runtimeConstraints }),
    ...(retry && { retry }),
    ...(outputTtl !== undefined && { outputTtl: durationFromMs(outputTtl * 1_000) }),
    ...((runLimit !== undefined || queueLimit !== undefined) && {
      limits: {
        ...(runLimit !== undefined && { run: durationFromMs(runLimit * 1_000) }),
        ...(queueLimit !== undefined && { queued: durationFromMs(queueLimit * 1_000) }),
      },
    }),
  };
}

function retryOf(options: JobRequestOptions): MessageInitShape<typeof RetryPolicySchema> | undefined {
  const { retryLost: lost, retryFailed: failed, retryRamFactor: ramFactor, retryMinBackoff, retryMaxBackoff } = options;
  const given = [lost, failed, ramFactor, retryMinBackoff, retryMaxBackoff].some((value) => value !== undefined);
  if (!given) return undefined;
  return {
    ...(lost !== undefined && { lost }),
    ...(failed !== undefined && { failed }),
    ...(ramFactor !== undefined && { ramFactor }),
    ...(retryMinBackoff !== undefined && { minBackoff: durationFromMs(retryMinBackoff * 1_000) }),
    ...(retryMaxBackoff !== undefined && { maxBackoff: durationFromMs(retryMaxBackoff * 1_000) }),
  };
}

async function parametersOf(
  options: JobRequestOptions,
  puts: Puts,
): Promise<{ readonly parameters: JsonObject; readonly inputs: string[] }> {
  const members = new Map(
    options.parameters === undefined ? [] : Object.entries(await parametersFrom(options.parameters)),
  );
  const given = new Set<string>();
  const inputs: string[] = [];
  for (const text of options.param ?? []) {
    const put = putParameter(text);
    const [name, value] = put ? [put[0], (await puts.add(put[1])).parameter] : parseParameter(text);
    if (put) inputs.push(pointerPart(name));
    if (given.has(name)) throw invalid('script_parameters', 'BAD_PARAMETERS', `-p ${quote(name)} is given twice`);
    given.add(name);
    members.set(name, value);
  }
  return { parameters: Object.fromEntries(members), inputs };
}

function unhashedOf(texts: readonly string[]): JsonObject {
  const members = new Map<string, JsonValue>();
  for (const text of texts) {
    if (putParameter(text)) {
      throw invalid('unhashed_parameters', 'BAD_PARAMETERS', `--unhashed ${quote(text)}: inputs are given by -p`);
    }
    const [name, value] = parseParameter(text);
    if (members.has(name)) {
      throw invalid('unhashed_parameters', 'BAD_PARAMETERS', `--unhashed ${quote(name)} is given twice`);
    }
    members.set(name, value);
  }
  return Object.fromEntries(members);
}

async function parametersFrom(file: string): Promise<JsonObject> {
  const source = file === '-' ? 'standard input' : `--parameters ${quote(file)}`;
  let bytes: Buffer;
  try {
    bytes = await readAtMost(file === '-' ? process.stdin : createReadStream(file), mostParameterBytes);
  } catch (error) {
    throw invalid('script_parameters', 'UNREADABLE_FILE', `${source}: ${(error as Error).message}`);
  }
  if (bytes.length > mostParameterBytes) {
    const why = `${source}: more than ${mostParameterBytes} bytes, and no server takes so many: give the script the address of its data instead`;
    throw invalid('script_parameters', 'MESSAGE_TOO_LARGE', why);
  }
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw invalid('script_parameters', 'BAD_PARAMETERS', `${source}: not UTF-8`);
  }
  return parseParameters(text, source);
}

/** What a stream gives; of one that gives more than `most` bytes, its beginning, which is longer than that. */
async function readAtMost(stream: AsyncIterable<Uint8Array>, most: number): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of stream) {
    pieces.push(piece);
    length += piece.length;
    if (length > most) break;
  }
  return Buffer.concat(pieces);
}

function constraintsOf(options: JobRequestOptions): MessageInitShape<typeof RuntimeConstraintsSchema> | undefined {
  const { dockerImage, dockerImageTag, arvadosSdkVersion } = options;
  const { minNodes, maxNodes, minCoresPerNode, minRamMbPerNode, minScratchMbPerNode } = options;
  const { maxTasksPerNode, keepCacheMbPerTask, platform, sandbox } = options;
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
    platform,
    sandbox,
  };
  const given = Object.entries(all).filter(([, value]) => value !== undefined);
  return given.length === 0 ? undefined : Object.fromEntries(given);
}
