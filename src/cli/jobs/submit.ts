import { randomUUID } from 'node:crypto';
import { Command } from 'commander';
import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { type CreateJobResponse, CreateJobResponseSchema } from '../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { emptyOutput } from '../../domain/empty-output.js';
import { invalid, quote } from '../../domain/errors.js';
import { addressesOf } from '../../domain/outputs/addresses.js';
import { isLoopback } from '../../rpc/client.js';
import { type Clients, withClients } from '../client.js';
import { openPuts } from '../content/put/puts.js';
import { type RemoteOptions, remote, seconds, withJson } from '../options.js';
import { decisionLine, evidenceLines } from '../text/decision-text.js';
import { versionText } from '../text/job-view.js';
import { nearMissLine } from '../text/near-miss-text.js';
import { note, printLine, printMessage } from '../text/output.js';
import { printable } from '../text/printable.js';
import { stateText, styled } from '../text/style.js';
import { type JobRequestOptions, jobRequest, requestOf } from './job-request.js';
import { streamLog } from './log.js';
import { requestLines } from './request-lines.js';
import { submitFrom } from './submit-from.js';
import { namingLargest } from './too-large.js';
import { interruptible, noteFailure, resultCode, waitWithProgress } from './wait.js';

/** How long a server of this machine is waited for, in seconds: longer than one takes to start. */
const localPatience = 10;

/** Longest name of a batch in bytes: with the number of a line behind it, it is a submit_id. */
const longestBatch = 240;

/** Options of `memoir submit`. */
export type SubmitOptions = RemoteOptions &
  JobRequestOptions & {
    readonly alwaysNew?: boolean;
    readonly findOrCreate?: boolean;
    readonly waitForServer?: number;
    readonly wait?: boolean;
    readonly follow?: boolean;
    readonly verbose?: boolean;
    readonly json?: boolean;
    readonly from?: string;
    readonly batch?: string;
  };

/** `memoir submit`. */
export function submitCommand(): Command {
  const command = jobRequest(
    new Command('submit').description('run a script, or be answered with a job that is the same work'),
  )
    .option(
      '--find-or-create',
      'answer with a past or running job that is the same work, if there is one (default, but not with --nondeterministic)',
    )
    .option('--always-new', 'record a new job in any case (default with --nondeterministic)')
    .option(
      '--wait-for-server <seconds>',
      'how long to wait for a server that does not listen yet (default: 10 on this machine, else 0)',
      seconds(0, 86_400),
    )
    .option('--wait', 'wait until the job has finished; the exit code tells how')
    .option('--follow', 'print the live log while waiting')
    .option(
      '--from <file>',
      'submit many: the requests of a file of JSON lines, each a CreateJobRequest ("-" for standard input); the other options are for ' +
        'what a line does not say',
    )
    .option(
      '--batch <id>',
      'name of the requests of --from: given again with the same file, it goes on where it was interrupted (default: a new one)',
    )
    .option('--verbose', 'print what the decision was made from: names resolved, and every candidate');
  // Where they are in the file, they need not be given.
  for (const option of command.options) {
    if (!['--repository', '--script'].includes(option.long ?? '')) continue;
    option.makeOptionMandatory(false);
    option.description += ' (required, unless --from is given)';
  }
  return remote(withJson(command)).action(async (options: SubmitOptions) => {
    if (options.alwaysNew && options.findOrCreate) {
      throw invalid('find_or_create', 'BAD_OPTIONS', '--always-new and --find-or-create exclude each other');
    }
    if (options.follow && options.json) {
      throw invalid('', 'BAD_OPTIONS', '--follow and --json exclude each other; use `memoir log --json`');
    }
    if (options.from === undefined) {
      checkSingle(options);
      const puts = openPuts();
      const request = await requestOf(options, puts);
      return connected(options, async (clients) => {
        await puts.upload(clients);
        await submit(clients, options, request);
      });
    }
    checkMany(options);
    const findOrCreate = options.alwaysNew ? false : options.findOrCreate ? true : undefined;
    const puts = openPuts();
    const defaults = { ...(await requestOf(options, puts)), ...(findOrCreate !== undefined && { findOrCreate }) };
    const lines = await requestLines(options.from, defaults);
    const { batch = randomUUID(), json } = options;
    return connected(options, async (clients) => {
      await puts.upload(clients);
      await submitFrom(clients, lines, { batch, json });
    });
  });
}

/** Calls the server, which is waited for if it was started a moment ago. @throws CallError */
export function connected(options: SubmitOptions, work: (clients: Clients) => Promise<void>): Promise<void> {
  return withClients(options, async (clients) => {
    await untilConnected(clients, options);
    await work(clients);
  });
}

/** @throws MemoirError INVALID_ARGUMENT naming what one request needs, or may not have */
function checkSingle({ repository, script, batch }: SubmitOptions): void {
  if (repository === undefined)
    throw invalid('repository', 'REQUIRED', '--repository is required, unless --from is given');
  if (script === undefined) throw invalid('script', 'REQUIRED', '--script is required, unless --from is given');
  if (batch !== undefined)
    throw invalid('submit_id', 'BAD_OPTIONS', '--batch is for --from; of one request it is --submit-id');
}

/** @throws MemoirError INVALID_ARGUMENT naming what is for one request alone */
function checkMany({ wait, follow, verbose, submitId, parameters, from, batch = '' }: SubmitOptions): void {
  const given = { '--wait': wait, '--follow': follow, '--verbose': verbose, '--submit-id': submitId };
  for (const [option, value] of Object.entries(given)) {
    if (value) throw invalid('requests', 'BAD_OPTIONS', `${option} and --from exclude each other`);
  }
  if (from === '-' && parameters === '-') throw invalid('requests', 'BAD_OPTIONS', 'standard input is given twice');
  if (Buffer.byteLength(batch) > longestBatch) {
    throw invalid('submit_id', 'TOO_LONG', `--batch ${quote(batch, 60)}: at most ${longestBatch} bytes`);
  }
}

/** Requests a job, and waits for it if that is asked for. Gives the job as it was seen last. @throws CallError */
export async function submit(
  clients: Clients,
  options: SubmitOptions,
  request: Awaited<ReturnType<typeof requestOf>>,
): Promise<Job> {
  const findOrCreate = !(options.alwaysNew ?? (options.nondeterministic && !options.findOrCreate));
  const answer = await clients.jobs
    .createJob({ ...request, findOrCreate, explainMisses: findOrCreate }, clients.unary)
    .catch((error: unknown) => {
      throw namingLargest(error, request);
    });
  const { job } = answer;
  if (!job) throw new Error('the server answered without a job');
  const waits = options.wait === true || options.follow === true;
  if (!options.json) await printAnswer(answer, job, options);
  if (waits) {
    answer.job = await interruptible(job.uuid, async () => {
      if (options.follow) await streamLog(clients, { uuid: job.uuid });
      return waitWithProgress(clients, job, answer.consistencyToken);
    });
    process.exitCode = resultCode(answer.job);
    if (!options.json) await printResult(answer.job);
  }
  if (options.json) await printMessage(CreateJobResponseSchema, answer);
  return answer.job ?? job;
}

/**
 * Waits for a server that was started a moment ago. Only for a connection: what was sent may have been recorded, and is not sent again.
 * @throws CallError if there is none in time
 */
async function untilConnected(clients: Clients, { waitForServer }: SubmitOptions): Promise<void> {
  const patience = waitForServer ?? (isLoopback(clients.address) ? localPatience : 0);
  if (patience === 0) return;
  const told = setTimeout(() => note(`no server at ${clients.address} yet; waiting for it up to ${patience} s`), 500);
  try {
    await clients.connected(patience);
  } finally {
    clearTimeout(told);
  }
}

async function printAnswer(answer: CreateJobResponse, job: Job, options: SubmitOptions): Promise<void> {
  const kind = answer.reused ? styled('green', 'reused') : styled('yellow', 'new');
  await printLine(`${kind} ${printable(job.uuid)} ${stateText(job.state)}`);
  await printLine(`  version: ${answer.reused ? acceptedText(job, options) : versionText(job)}`);
  await printLine(`  why: ${decisionLine(answer.decision)}`);
  const [nearest] = answer.nearMisses;
  if (nearest) await printLine(`  nearest: ${nearMissLine(nearest)}`);
  await printOutput(job);
  if (options.verbose) for (const line of evidenceLines(answer.decision)) await printLine(`  ${line}`);
}

async function printResult(job: Job): Promise<void> {
  await printLine(`${stateText(job.state)} ${printable(job.uuid)}`);
  await printOutput(job);
  noteFailure(job);
}

/** The commit of another request's job, with the refspec of this one: the job's own is what somebody else typed. */
function acceptedText({ scriptVersion }: Job, { scriptVersion: asked }: SubmitOptions): string {
  const commit = printable(scriptVersion);
  return asked === scriptVersion ? commit : `${commit} (accepted for ${printable(asked)})`;
}

async function printOutput(job: Job): Promise<void> {
  const { output, uuid } = job;
  if (output === '') return;
  await printLine(`  output: ${printable(output)}`);
  if (!addressesOf(job).includes(emptyOutput)) return;
  note(
    'warning: the output is empty; only what a script puts into the directory that MEMOIR_OUTPUT names is kept, not what it writes ' +
      `elsewhere, as into its working directory (its log, \`memoir log ${printable(uuid)}\`, may say more)`,
  );
}
