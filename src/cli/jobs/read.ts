import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { type FieldMask, FieldMaskSchema } from '@bufbuild/protobuf/wkt';
import { Command } from 'commander';
import { type Job, JobSchema } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { type GetQueueRequestSchema, WatchJobResponseSchema } from '../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { filterFromTriple } from '../../domain/filters/from-triple.js';
import { type AsOfOptions, withAsOf } from '../as-of.js';
import { withClients } from '../client.js';
import { integer, type RemoteOptions, remote, repeated, withJson } from '../options.js';
import { wideHelp } from '../text/fitted-table.js';
import { jobSheet, jobTable, selectedTable } from '../text/job-view.js';
import { note, printLine, printMessage } from '../text/output.js';
import { type ListOptions, printList } from '../text/print-list.js';
import { printable } from '../text/printable.js';
import { styled } from '../text/style.js';
import { filtersOf } from './filter-option.js';
import { uuidHelp, wholeUuid } from './uuid-prefix.js';
import { changes, noteFailure, resultCode, statusText } from './wait.js';

type ReadOptions = RemoteOptions & { readonly json?: boolean };
type PageOptions = ReadOptions &
  ListOptions & {
    readonly filter?: readonly string[];
    readonly requestedBy?: readonly string[];
    readonly select?: string;
    readonly count?: boolean;
  };
type Page = {
  readonly jobs: readonly Job[];
  readonly nextPageToken: string;
  readonly totalSize?: bigint | undefined;
  readonly waitingFor?: Readonly<Record<string, string>>;
};
type PageRequest = Pick<MessageInitShape<typeof GetQueueRequestSchema>, 'pageSize' | 'pageToken' | 'filters'> & {
  readonly select?: FieldMask;
  readonly countTotal: boolean;
};

/** `memoir get`. */
export function getCommand(): Command {
  const command = new Command('get').description('print one job').argument('<uuid>', uuidHelp);
  return remote(withJson(withAsOf(command))).action((given: string, options: ReadOptions & AsOfOptions) =>
    withClients(options, async (clients) => {
      const { asOf } = options;
      const uuid = await wholeUuid(clients, given, asOf);
      const { job, waitingFor } = await clients.jobs.getJob({ uuid, ...(asOf && { asOf }) }, clients.unary);
      if (!job) throw new Error('the server answered without a job');
      if (options.json) await printMessage(JobSchema, job);
      else await printLine(jobSheet(job, Date.now(), waitingFor));
    }),
  );
}

/** `memoir list`. */
export function listCommand(): Command {
  const command = new Command('list')
    .description('print jobs, the newest first')
    .option('--order-by <keys>', 'another order, such as "priority desc, created_at"');
  return paged(withAsOf(command)).action((options: PageOptions & AsOfOptions & { readonly orderBy?: string }) =>
    withClients(options, (clients) => {
      const { orderBy = '', asOf } = options;
      const asked = { orderBy, ...(asOf && { asOf }) };
      return printPages(options, (page) => clients.jobs.listJobs({ ...page, ...asked }, clients.unary), 'no jobs');
    }),
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
    .argument('<uuid>', uuidHelp);
  return remote(withJson(command)).action((given: string, options: ReadOptions) =>
    withClients(options, async (clients) => {
      const uuid = await wholeUuid(clients, given);
      let said = '';
      for await (const answer of changes(clients, uuid)) {
        if (!answer.job) continue;
        process.exitCode = resultCode(answer.job);
        const text = statusText(answer.job);
        if (options.json) await printMessage(WatchJobResponseSchema, answer);
        else if (text !== said) await printLine(`${text} ${styled('dim', printable(answer.eventType))}`.trimEnd());
        said = text;
        if (!options.json) noteFailure(answer.job);
      }
    }),
  );
}

function paged(command: Command): Command {
  return remote(withJson(command))
    .option('--limit <number>', 'most jobs to print', integer(1, 1_000_000_000), 100)
    .option('--all', 'print all jobs')
    .option('--filter <json>', 'print only jobs that match ["attribute","operator",operand] (repeatable)', repeated)
    .option(
      '--requested-by <principal>',
      'print only jobs that this principal requested, joined, or was answered with (repeatable: any of them)',
      repeated,
    )
    .option('--select <fields>', 'print only these fields, and the uuid, such as "state,output"')
    .option('--count', 'say how many match in all')
    .option('--wide', wideHelp);
}

/** Prints as many pages of jobs as it takes. */
function printPages(options: PageOptions, next: (page: PageRequest) => Promise<Page>, nothing: string): Promise<void> {
  const { requestedBy = [] } = options;
  const filters = [
    ...filtersOf(options.filter),
    ...(requestedBy.length === 0 ? [] : [filterFromTriple(['requested_by', 'in', requestedBy])]),
  ];
  const paths = options.select?.split(',').map((path) => path.trim());
  const waiting = new Map<string, string>();
  const asked = { filters, ...(paths && { select: create(FieldMaskSchema, { paths }) }) };
  return printList(options, {
    schema: JobSchema,
    whole: paths === undefined,
    async page(which) {
      const countTotal = options.count === true && which.pageToken === '';
      const page = await next({ ...asked, countTotal, ...which });
      for (const uuid in page.waitingFor) waiting.set(uuid, page.waitingFor[uuid] ?? '');
      if (page.totalSize !== undefined) note(`${page.totalSize} in all`);
      return { rows: page.jobs, nextPageToken: page.nextPageToken };
    },
    table: (rows, width) => (paths ? selectedTable(rows, paths, width) : jobTable(rows, Date.now(), width, waiting)),
    none: nothing,
  });
}
