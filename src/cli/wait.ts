import { type Job, JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import type { WatchJobResponse } from '../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { isFinished, stateName } from '../domain/job.js';
import type { Clients } from './client.js';
import { exitCodes } from './exit-code.js';
import { progressText, tasksText } from './job-view.js';
import { note } from './output.js';
import { resumed } from './resume.js';

/**
 * Every state of a job from now until it has finished, each once.
 * @throws CallError
 */
export async function* changes(
  clients: Clients,
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
 * The job when it has finished. Progress goes to standard error meanwhile: a spinner on a terminal, otherwise a line a change.
 * @throws CallError
 */
export async function waitUntilFinished(clients: Clients, job: Job, consistencyToken: string): Promise<Job> {
  let last = job;
  if (isFinished(job.state)) return job;
  const spinner = process.stderr.isTTY ? await startSpinner(statusText(job)) : undefined;
  let said = '';
  try {
    for await (const { job: now } of changes(clients, job.uuid, consistencyToken)) {
      if (!now) continue;
      last = now;
      const text = statusText(now);
      if (spinner) spinner.text = text;
      else if (text !== said) note(text);
      said = text;
    }
  } finally {
    spinner?.stop();
  }
  return last;
}

async function startSpinner(text: string) {
  const { default: ora } = await import('ora');
  return ora({ stream: process.stderr, text }).start();
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
