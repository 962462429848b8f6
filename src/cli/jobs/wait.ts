import { constants } from 'node:os';
import { type Job, JobState } from '../../../gen/memoir/jobs/v1/job_pb.js';
import type { WatchJobResponse } from '../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { isFinished, stateName } from '../../domain/job.js';
import type { Clients } from '../client.js';
import { exitCodes } from '../exit-code.js';
import { resumed } from '../log/resume.js';
import { progressText, tasksText } from '../text/job-view.js';
import { colourful, note } from '../text/output.js';
import { printable, printableLines } from '../text/printable.js';

/**
 * Every state of a job from now until it has finished, each once.
 * @throws CallError
 */
export async function* changes(
  clients: Pick<Clients, 'jobs'>,
  uuid: string,
  consistencyToken = '',
): AsyncGenerator<WatchJobResponse> {
  let revision = -1;
  for await (const answer of resumed(() => clients.jobs.watchJob({ uuid, consistencyToken }))) {
    if (!answer.job || answer.job.revision <= revision) continue;
    revision = answer.job.revision;
    yield answer;
    if (isFinished(answer.job.state)) return;
  }
}

/**
 * The job when it has finished. `onChange` is told of every change until then.
 * @throws CallError
 */
export async function waitUntilFinished(
  clients: Pick<Clients, 'jobs'>,
  job: Job,
  consistencyToken: string,
  onChange: (job: Job) => void,
): Promise<Job> {
  if (isFinished(job.state)) return job;
  let last = job;
  for await (const { job: now } of changes(clients, job.uuid, consistencyToken)) {
    if (!now) continue;
    last = now;
    onChange(now);
  }
  return last;
}

/** As `waitUntilFinished`, with progress on standard error: a spinner on a terminal, otherwise a line a change. */
export async function waitWithProgress(clients: Clients, job: Job, consistencyToken: string): Promise<Job> {
  // ora counts lines without end on a terminal that says it has no columns, as those of some containers do.
  const animated = process.stderr.isTTY && process.stderr.columns > 0;
  const spinner = animated ? await startSpinner(statusText(job)) : undefined;
  let said = '';
  try {
    return await waitUntilFinished(clients, job, consistencyToken, (now) => {
      const text = statusText(now);
      if (spinner) spinner.text = text;
      else if (text !== said) note(text);
      said = text;
    });
  } finally {
    spinner?.stop();
  }
}

async function startSpinner(text: string) {
  const { default: ora } = await import('ora');
  return ora({ stream: process.stderr, text, color: colourful(process.stderr) ? 'cyan' : false }).start();
}

/** Says on standard error why a job failed, if it did. */
export function noteFailure({ failureReason, failureMessage }: Job): void {
  if (failureReason !== '') note(`${printable(failureReason)}: ${printableLines(failureMessage)}`);
}

/**
 * Waits by `work`. Whoever interrupts it is told that the job goes on, and the process ends with the exit code that shells give for the
 * signal.
 */
export async function interruptible<T>(uuid: string, work: () => Promise<T>): Promise<T> {
  const end = (signal: NodeJS.Signals) => {
    const name = printable(uuid);
    note(`\njob ${name} goes on: \`memoir watch ${name}\` waits for it again, \`memoir cancel ${name}\` ends it`);
    process.exit(128 + constants.signals[signal]);
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, end);
  try {
    return await work();
  } finally {
    for (const signal of signals) process.off(signal, end);
  }
}

/** The exit code that tells how a job ended. */
export function resultCode(job: Job): number {
  return job.state === JobState.COMPLETE ? exitCodes.ok : exitCodes.jobFailed;
}

/** State and progress in one line. */
export function statusText(job: Job): string {
  const tasks = job.tasksSummary ? `(${tasksText(job)})` : '';
  const running = job.state === JobState.RUNNING ? [progressText(job), tasks] : [];
  const parts = [stateName(job.state), ...running];
  return `${job.uuid} ${parts.filter((part) => part !== '').join(' ')}`;
}
