import { Command } from 'commander';
import { type Job, JobSchema } from '../../gen/memoir/jobs/v1/job_pb.js';
import { WatchJobResponseSchema } from '../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { withClients } from './client.js';
import { jobSheet, jobTable } from './job-view.js';
import { integer, type RemoteOptions, remote, withJson } from './options.js';
import { note, printLine, printMessage } from './output.js';
import { printable } from './printable.js';
import { styled } from './style.js';
import { changes, resultCode, statusText } from './wait.js';

type ReadOptions = RemoteOptions & { readonly json?: boolean };
type PageOptions = ReadOptions & { readonly limit: number; readonly all?: boolean };
type Page = { readonly jobs: readonly Job[]; readonly nextPageToken: string };

/** `memoir get`. */
export function getCommand(): Command {
  const command = new Command('get').description('print one job').argument('<uuid>', 'uuid of the job');
  return remote(withJson(command)).action((uuid: string, options: ReadOptions) =>
    withClients(options, async (clients) => {
      const { job } = await clients.jobs.getJob({ uuid }, clients.unary);
      if (!job) throw new Error('the server answered without a job');
      if (options.json) await printMessage(JobSchema, job);
      else await printLine(jobSheet(job, Date.now()));
    }),
  );
}

/** `memoir list`. */
export function listCommand(): Command {
  return paged(new Command('list').description('print jobs, the newest first')).action((options: PageOptions) =>
    withClients(options, (clients) =>
      printPages(options, (page) => clients.jobs.listJobs(page, clients.unary), 'no jobs'),
    ),
  );
}

/** `memoir queue`. */
export function queueCommand(): Command {
  const command = new Command('queue')
    .description('print queued jobs in the order in which workers get them')
    .option('--size', 'print only how many there are');
  return paged(command).action((options: PageOptions & { readonly size?: boolean }) =>
    withClients(options, async (clients) => {
      if (!options.size) {
        return printPages(options, (page) => clients.jobs.getQueue(page, clients.unary), 'the queue is empty');
      }
      const { size } = await clients.jobs.getQueueSize({}, clients.unary);
      return printLine(options.json ? JSON.stringify({ size: String(size) }) : String(size));
    }),
  );
}

/** `memoir watch`. */
export function watchCommand(): Command {
  const command = new Command('watch')
    .description('print a job now and after every change until it has finished; the exit code tells how')
    .argument('<uuid>', 'uuid of the job');
  return remote(withJson(command)).action((uuid: string, options: ReadOptions) =>
    withClients(options, async (clients) => {
      let said = '';
      for await (const answer of changes(clients, uuid)) {
        if (!answer.job) continue;
        process.exitCode = resultCode(answer.job);
        const text = statusText(answer.job);
        if (options.json) await printMessage(WatchJobResponseSchema, answer);
        else if (text !== said) await printLine(`${text} ${styled('dim', printable(answer.eventType))}`.trimEnd());
        said = text;
      }
    }),
  );
}

function paged(command: Command): Command {
  return remote(withJson(command))
    .option('--limit <number>', 'most jobs to print', integer(1, 1_000_000_000), 100)
    .option('--all', 'print all jobs');
}

/** Prints as many pages as it takes: as JSON at once, as a table when all are there, since its columns need all. */
async function printPages(
  options: PageOptions,
  next: (page: { pageSize: number; pageToken: string }) => Promise<Page>,
  nothing: string,
): Promise<void> {
  const limit = options.all ? Number.POSITIVE_INFINITY : options.limit;
  const rows: Job[] = [];
  let count = 0;
  let pageToken = '';
  do {
    const page = await next({ pageSize: Math.min(limit - count, 1_000), pageToken });
    for (const job of page.jobs) {
      if (options.json) await printMessage(JobSchema, job);
      else rows.push(job);
    }
    count += page.jobs.length;
    pageToken = page.nextPageToken;
  } while (pageToken !== '' && count < limit);
  if (!options.json && rows.length > 0) await printLine(jobTable(rows, Date.now()));
  if (!options.json && rows.length === 0) note(nothing);
  if (pageToken !== '') note(`there are more than these ${count}; see --limit and --all`);
}
