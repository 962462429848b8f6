import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { Command } from 'commander';
import {
  DrainWorkerResponseSchema,
  ListPausesResponseSchema,
  PauseQueueResponseSchema,
  ResumeQueueResponseSchema,
  UndrainWorkerResponseSchema,
  type Worker,
  WorkerSchema,
} from '../../../gen/memoir/workers/v1/workers_service_pb.js';
import { MemoirError, quote } from '../../domain/errors.js';
import { type Clients, withClients } from '../client.js';
import { integer, type RemoteOptions, remote, seconds, withJson } from '../options.js';
import { fittedTable, wideHelp } from '../text/fitted-table.js';
import { printLine, printMessage } from '../text/output.js';
import { type ListOptions, printList } from '../text/print-list.js';
import { printable } from '../text/printable.js';
import { table } from '../text/table.js';
import { age } from '../text/time-text.js';

type Options = RemoteOptions & { readonly json?: boolean; readonly reason?: string };

const day = 86_400;

/** `memoir workers`. */
export function workersCommand(): Command {
  const command = new Command('workers')
    .description('print workers, the last seen first: what they are, have and run')
    .option(
      '--seen-within <seconds>',
      'those seen within this time, beside those that run jobs or are drained',
      seconds(0, 1e8),
      day,
    )
    .option('--limit <number>', 'most workers to print', integer(1, 1_000_000_000), 100)
    .option('--all', 'print all of them')
    .option('--wide', wideHelp);
  return remote(withJson(command)).action((options: Options & ListOptions & { readonly seenWithin: number }) =>
    withClients(options, (clients) =>
      printList(options, {
        schema: WorkerSchema,
        async page(asked) {
          const seenWithin = durationFromMs(options.seenWithin * 1_000);
          const page = await clients.workers.listWorkers({ seenWithin, ...asked }, clients.unary);
          return { rows: page.workers, nextPageToken: page.nextPageToken };
        },
        table: (rows, width) => workerTable(rows, Date.now(), width),
        none: 'no workers',
      }),
    ),
  );
}

/** `memoir drain`. */
export function drainCommand(): Command {
  const command = ofWorker(
    new Command('drain').description('let a worker finish what it runs and give it no more jobs'),
  ).option('--reason <text>', 'why, for people');
  return command.action((name: string, options: Options & OfWorker) =>
    withClients(options, async (clients) => {
      const id = await workerOf(clients, name, options);
      const answer = await clients.workers.drainWorker({ ...id, reason: options.reason ?? '' }, clients.unary);
      if (options.json) return printMessage(DrainWorkerResponseSchema, answer);
      const left = answer.worker?.running.length ?? 0;
      return printLine(`${workerText(id)} is drained; it finishes ${left} job${left === 1 ? '' : 's'}`);
    }),
  );
}

/** `memoir undrain`. */
export function undrainCommand(): Command {
  const command = ofWorker(new Command('undrain').description('give a drained worker jobs again'));
  return command.action((name: string, options: Options & OfWorker) =>
    withClients(options, async (clients) => {
      const id = await workerOf(clients, name, options);
      const answer = await clients.workers.undrainWorker(id, clients.unary);
      if (options.json) return printMessage(UndrainWorkerResponseSchema, answer);
      return printLine(`${workerText(id)} is given jobs again`);
    }),
  );
}

/** `memoir pause`, `resume` and `pauses`. */
export function pauseCommands(): Command[] {
  const glob = 'repositories by a glob such as project or genome/*';
  const pause = remote(
    withJson(
      new Command('pause').description('give jobs of some repositories to no worker').argument('<repositories>', glob),
    ),
  )
    .option('--reason <text>', 'why, for people')
    .action((repositories: string, options: Options) =>
      withClients(options, async (clients) => {
        const answer = await clients.workers.pauseQueue({ repositories, reason: options.reason ?? '' }, clients.unary);
        if (options.json) return printMessage(PauseQueueResponseSchema, answer);
        return printLine(`paused ${printable(repositories)}; what runs goes on`);
      }),
    );
  const resume = remote(
    withJson(
      new Command('resume').description('take a pause back').argument('<repositories>', 'the glob that was paused'),
    ),
  ).action((repositories: string, options: Options) =>
    withClients(options, async (clients) => {
      const answer = await clients.workers.resumeQueue({ repositories }, clients.unary);
      if (options.json) return printMessage(ResumeQueueResponseSchema, answer);
      return printLine(`resumed ${printable(repositories)}`);
    }),
  );
  const pauses = remote(withJson(new Command('pauses').description('print the pauses that hold'))).action(
    (options: Options) =>
      withClients(options, async (clients) => {
        const answer = await clients.workers.listPauses({}, clients.unary);
        if (options.json) return printMessage(ListPausesResponseSchema, answer);
        if (answer.pauses.length === 0) return printLine('nothing is paused');
        const rows = answer.pauses.map((one) => [
          printable(one.repositories),
          age(one.pausedAt, Date.now()),
          printable(one.pausedBy),
          printable(one.reason),
        ]);
        return printLine(table(['REPOSITORIES', 'PAUSED', 'BY', 'REASON'], rows));
      }),
  );
  return [pause, resume, pauses];
}

type OfWorker = { readonly of?: string };

type Id = { readonly principal: string; readonly workerName: string };

function ofWorker(command: Command): Command {
  return remote(withJson(command))
    .argument('<name>', 'what the worker calls itself, as memoir workers prints it')
    .option('--of <principal>', 'principal of the worker, where several have one of that name');
}

/** The worker of a name. @throws MemoirError if there is none, or several principals have one */
async function workerOf(clients: Clients, workerName: string, { of }: OfWorker): Promise<Id> {
  if (of !== undefined) return { principal: of, workerName };
  const found = new Set<string>();
  let pageToken = '';
  do {
    // Of a name that is long gone too: as long as there are times.
    const seenWithin = durationFromMs(100 * 365 * day * 1_000);
    const page = await clients.workers.listWorkers({ pageSize: 1_000, pageToken, seenWithin }, clients.unary);
    for (const one of page.workers) if (one.workerName === workerName) found.add(one.principal);
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  const [principal, ...others] = found;
  if (principal !== undefined && others.length === 0) return { principal, workerName };
  if (principal === undefined) {
    throw new MemoirError('NOT_FOUND', 'UNKNOWN_WORKER', `no worker ${quote(workerName)} was seen`);
  }
  const all = [...found].map((name) => quote(name)).join(', ');
  throw new MemoirError(
    'INVALID_ARGUMENT',
    'BAD_OPTIONS',
    `workers of ${all} call themselves ${quote(workerName)}; say which with --of`,
  );
}

function workerText({ principal, workerName }: Id): string {
  return `${printable(workerName)} of ${printable(principal)}`;
}

function workerTable(rows: readonly Worker[], nowMs: number, width: number): string {
  return fittedTable(
    [
      { title: 'NAME', least: 12 },
      { title: 'PRINCIPAL', rank: 5, least: 8 },
      { title: 'SEEN' },
      { title: 'STATE', least: 8 },
      { title: 'RUNS' },
      { title: 'OFFERS', rank: 4, least: 12 },
      { title: 'HOST', rank: 3, least: 8 },
      { title: 'VERSION', rank: 1 },
      { title: 'REPOSITORIES', rank: 2, least: 12 },
    ],
    rows.map((one) => [
      printable(one.workerName),
      printable(one.principal),
      age(one.seenAt, nowMs),
      stateText(one),
      String(one.running.length),
      offerText(one.offer),
      printable(one.host),
      printable(one.version),
      printable(one.repositories.join(' ')),
    ]),
    width,
  );
}

function stateText({ drained, drainReason, reservedFor }: Worker): string {
  if (drained) return `drained${drainReason === '' ? '' : `: ${printable(drainReason)}`}`;
  return reservedFor === '' ? '' : `kept free for ${reservedFor}`;
}

function offerText(offer: Worker['offer']): string {
  if (!offer) return '';
  const labels = Object.entries(offer.labels).map(([name, value]) => `${name}=${value}`);
  const sizes = [`${offer.cores} cores`, `${offer.ramMb} MiB RAM`, `${offer.scratchMb} MiB scratch`];
  const secrets = offer.secrets.map(({ name, grant }) => `secret ${name}@${grant}`);
  return printable([...sizes, ...offer.imageRuntimes, ...labels, ...secrets].join(', '));
}
