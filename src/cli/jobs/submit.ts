import { Command } from 'commander';
import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { type CreateJobResponse, CreateJobResponseSchema } from '../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { emptyOutput } from '../../domain/empty-output.js';
import { invalid } from '../../domain/errors.js';
import { type Clients, withClients } from '../client.js';
import { type RemoteOptions, remote, withJson } from '../options.js';
import { decisionLine, evidenceLines } from '../text/decision-text.js';
import { versionText } from '../text/job-view.js';
import { note, printLine, printMessage } from '../text/output.js';
import { printable, printableLines } from '../text/printable.js';
import { stateText, styled } from '../text/style.js';
import { type JobRequestOptions, jobRequest, requestOf } from './job-request.js';
import { streamLog } from './log.js';
import { resultCode, waitWithProgress } from './wait.js';

type SubmitOptions = RemoteOptions &
  JobRequestOptions & {
    readonly alwaysNew?: boolean;
    readonly wait?: boolean;
    readonly follow?: boolean;
    readonly verbose?: boolean;
    readonly json?: boolean;
  };

/** `memoir submit`. */
export function submitCommand(): Command {
  const command = jobRequest(
    new Command('submit').description('run a script, or be answered with a job that is the same work'),
  )
    .option('--find-or-create', 'answer with a past or running job that is the same work, if there is one (default)')
    .option('--always-new', 'record a new job in any case')
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
    const request = await requestOf(options);
    await withClients(options, (clients) => submit(clients, options, request));
  });
}

async function submit(
  clients: Clients,
  options: SubmitOptions,
  request: Awaited<ReturnType<typeof requestOf>>,
): Promise<void> {
  const answer = await clients.jobs.createJob({ ...request, findOrCreate: !options.alwaysNew }, clients.unary);
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
  await printOutput(job);
  if (verbose) for (const line of evidenceLines(answer.decision)) await printLine(`  ${line}`);
}

async function printResult(job: Job): Promise<void> {
  await printLine(`${stateText(job.state)} ${printable(job.uuid)}`);
  await printOutput(job);
  if (job.failureReason !== '') {
    note(`${printable(job.failureReason)}: ${printableLines(job.failureMessage)}`);
  }
}

async function printOutput({ output, uuid }: Job): Promise<void> {
  if (output === '') return;
  await printLine(`  output: ${printable(output)}`);
  if (output !== emptyOutput) return;
  note(
    'warning: the output is empty; only what a script puts into the directory that MEMOIR_OUTPUT names is kept, not what it writes ' +
      `elsewhere, as into its working directory (its log, \`memoir log ${printable(uuid)}\`, may say more)`,
  );
}
