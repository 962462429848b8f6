import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Command } from 'commander';
import { type Exclusion, type WorkerTarget, WorkerTargetSchema } from '../../../gen/memoir/jobs/v1/exclusion_pb.js';
import {
  type ExcludeFromReuseRequest,
  type ExcludeFromReuseResponse,
  ExcludeFromReuseResponseSchema,
  type ListedExclusion,
  ListedExclusionSchema,
  ReinstateForReuseResponseSchema,
  ReportOutputLostResponseSchema,
} from '../../../gen/memoir/jobs/v1/exclusions_service_pb.js';
import { invalid } from '../../domain/errors.js';
import { targetText } from '../../domain/exclusions.js';
import { withClients } from '../client.js';
import { integer, type RemoteOptions, remote, withJson } from '../options.js';
import { fittedTable, wideHelp } from '../text/fitted-table.js';
import { note, printLine, printMessage } from '../text/output.js';
import { type ListOptions, printList } from '../text/print-list.js';
import { printable } from '../text/printable.js';
import { instant } from '../text/time-text.js';
import { time, timeForms } from '../time-option.js';
import { uuidHelp, wholeUuid } from './uuid-prefix.js';

type Target = ExcludeFromReuseRequest['target'];
type ExcludeOptions = RemoteOptions & {
  readonly json?: boolean;
  readonly reason: string;
  readonly repository?: string;
  readonly commit?: string;
  readonly introducedBy?: string;
  readonly fixedBy?: string;
  readonly image?: string;
  readonly output?: string;
  readonly name?: string;
  readonly from?: number;
  readonly until?: number;
  readonly lost?: boolean;
  readonly cascade?: boolean;
  readonly dryRun?: boolean;
  readonly maxHits: number;
};
type ExclusionsOptions = RemoteOptions & ListOptions & { readonly repository?: string; readonly reinstated?: boolean };

/** `memoir exclude`. */
export function excludeCommand(): Command {
  const command = new Command('exclude')
    .description(
      'take jobs out of reuse: one job, a commit, a range of commits, an image, an output or what a worker ran',
    )
    .argument('[uuid]', `${uuidHelp}; or the word worker`)
    .argument('[principal]', 'after the word worker: the principal of the worker')
    .option('--repository <name>', 'repository of --commit or --introduced-by')
    .option('--commit <refspec>', 'jobs of this commit')
    .option('--introduced-by <refspec>', 'jobs of commits that have this one in their history, itself included')
    .option('--fixed-by <refspec>', 'but not of those that have this one in theirs')
    .option('--image <locator>', 'jobs that ran in this docker image')
    .option('--output <address>', 'jobs with this output')
    .option('--name <name>', 'only what the worker of this name ran (with worker)')
    .option('--from <time>', `only what ran at this time or later (with worker): ${timeForms}`, time(Date.now))
    .option('--until <time>', 'only what began before this time (with worker)', time(Date.now))
    .option('--lost', 'the output is gone rather than wrong (with --output)')
    .option('--cascade', 'also jobs that took an excluded output as a parameter value, however deep')
    .option('--dry-run', 'print what would be hit, and record nothing')
    .option('--max-hits <number>', 'most jobs to print', integer(1, 10_000), 1_000)
    .requiredOption('--reason <text>', 'why');
  return remote(withJson(command)).action(
    (uuid: string | undefined, principal: string | undefined, options: ExcludeOptions) => {
      const target = targetOf(uuid, principal, options);
      return options.lost ? reportLost(target, options) : exclude(target, options);
    },
  );
}

async function exclude(given: Target, options: ExcludeOptions): Promise<void> {
  const { reason, cascade = false, dryRun = false, maxHits } = options;
  await withClients(options, async (clients) => {
    const target = given.case === 'jobUuid' ? { ...given, value: await wholeUuid(clients, given.value) } : given;
    const request = { target, reason, cascade, dryRun, maxHits };
    const answer = await clients.exclusions.excludeFromReuse(request, clients.unary);
    if (options.json) return printMessage(ExcludeFromReuseResponseSchema, answer);
    await printHits(answer, dryRun);
  });
}

async function reportLost(target: Target, options: ExcludeOptions): Promise<void> {
  if (target.case !== 'output' || options.cascade || options.dryRun) {
    throw invalid('output', 'BAD_OPTIONS', '--lost goes with --output alone, without --cascade and --dry-run');
  }
  await withClients(options, async (clients) => {
    const request = { output: target.value, reason: options.reason };
    const answer = await clients.exclusions.reportOutputLost(request, clients.unary);
    if (options.json) return printMessage(ReportOutputLostResponseSchema, answer);
    const by = answer.exclusionId === '' ? 'recorded as lost' : `exclusion ${printable(answer.exclusionId)}`;
    await printLine(`${by}: ${jobs(answer.jobCount)} with the lost output`);
  });
}

async function printHits({ exclusion, hits, hitCount }: ExcludeFromReuseResponse, dryRun: boolean): Promise<void> {
  const what = exclusion ? printable(targetText(exclusion.target)) : '';
  const id = printable(exclusion?.id ?? '');
  await printLine(
    dryRun
      ? `would exclude ${what}: ${jobs(hitCount)} would no longer be reused`
      : `exclusion ${id} of ${what}: ${jobs(hitCount)} no longer reused`,
  );
  for (const { uuid, throughUuid } of hits) {
    const through = throughUuid === '' ? '' : ` took the output of ${printable(throughUuid)}`;
    await printLine(`  ${printable(uuid)}${through}`);
  }
  if (hits.length < hitCount) note(`and ${hitCount - hits.length} more; see --max-hits`);
}

/** `memoir reinstate`. */
export function reinstateCommand(): Command {
  const command = new Command('reinstate')
    .description('lift an exclusion, so that its jobs are reused again')
    .argument('<id>', 'id of the exclusion')
    .requiredOption('--reason <text>', 'why');
  return remote(withJson(command)).action(
    (id: string, options: RemoteOptions & { readonly json?: boolean; readonly reason: string }) =>
      withClients(options, async (clients) => {
        const answer = await clients.exclusions.reinstateForReuse({ id, reason: options.reason }, clients.unary);
        if (options.json) await printMessage(ReinstateForReuseResponseSchema, answer);
        else await printLine(`lifted exclusion ${printable(id)}`);
      }),
  );
}

/** `memoir exclusions`. */
export function exclusionsCommand(): Command {
  const command = new Command('exclusions')
    .description('print what is excluded from reuse, the newest first')
    .option('--repository <name>', 'only exclusions of jobs and commits of this repository')
    .option('--reinstated', 'also those that were lifted')
    .option('--limit <number>', 'most exclusions to print', integer(1, 1_000_000_000), 100)
    .option('--all', 'print all')
    .option('--wide', wideHelp);
  return remote(withJson(command)).action((options: ExclusionsOptions) =>
    withClients(options, (clients) =>
      printList(options, {
        schema: ListedExclusionSchema,
        async page(asked) {
          const { repository = '', reinstated: includeReinstated = false } = options;
          const request = { repository, includeReinstated, ...asked };
          const page = await clients.exclusions.listExclusions(request, clients.unary);
          return { rows: page.exclusions, nextPageToken: page.nextPageToken };
        },
        table: exclusionTable,
        none: 'no exclusions',
      }),
    ),
  );
}

function exclusionTable(rows: readonly ListedExclusion[], width: number): string {
  return fittedTable(
    [
      { title: 'ID' },
      { title: 'SINCE', rank: 3 },
      { title: 'BY', rank: 1, least: 8 },
      { title: 'WHAT', least: 16 },
      { title: 'REASON', rank: 4, least: 12 },
      { title: 'STATE', rank: 2, least: 8 },
    ],
    rows.map(({ exclusion, reinstated, reinstatedReason }) => [
      printable(exclusion?.id ?? ''),
      instant(exclusion?.excludedAt),
      printable(exclusion?.excludedBy ?? ''),
      exclusion ? printable(exclusionText(exclusion)) : '',
      printable(exclusion?.reason ?? ''),
      reinstated ? printable(`lifted: ${reinstatedReason}`) : 'stands',
    ]),
    width,
  );
}

/** What an exclusion excludes, in one line. */
export function exclusionText({ target, cascade, outputLost }: Exclusion): string {
  const more = cascade ? ' and what took its output' : '';
  return `${targetText(target)}${outputLost ? ' (lost)' : ''}${more}`;
}

function workerOf(principal: string, { name = '', from, until }: ExcludeOptions): WorkerTarget {
  return create(WorkerTargetSchema, {
    principal,
    workerName: name,
    ...(from !== undefined && { since: timestampFromMs(from) }),
    ...(until !== undefined && { until: timestampFromMs(until) }),
  });
}

function jobs(count: number): string {
  return count === 1 ? '1 job' : `${count} jobs`;
}

/** @throws MemoirError INVALID_ARGUMENT if there is not exactly one target, or a part of it is missing or too much */
function targetOf(uuid: string | undefined, principal: string | undefined, options: ExcludeOptions): Target {
  const { repository, commit, introducedBy, fixedBy, image, output } = options;
  const ofWorker = [principal, options.name, options.from, options.until].some((value) => value !== undefined);
  if (ofWorker !== (uuid === 'worker') || (ofWorker && principal === undefined)) {
    throw invalid(
      'target',
      'BAD_OPTIONS',
      '`memoir exclude worker` needs a principal, and --name, --from and --until need it',
    );
  }
  const given = [uuid, commit, introducedBy, image, output].filter((value) => value !== undefined);
  if (given.length !== 1) {
    throw invalid(
      'target',
      'BAD_OPTIONS',
      'give one of: the uuid of a job, worker and a principal, --commit, --introduced-by, --image and --output',
    );
  }
  const ofCommits = commit !== undefined || introducedBy !== undefined;
  if (ofCommits !== (repository !== undefined)) {
    throw invalid('target', 'BAD_OPTIONS', '--commit and --introduced-by need --repository, and nothing else takes it');
  }
  if (fixedBy !== undefined && introducedBy === undefined) {
    throw invalid('target', 'BAD_OPTIONS', '--fixed-by needs --introduced-by');
  }
  if (principal !== undefined) return { case: 'worker', value: workerOf(principal, options) };
  if (uuid !== undefined) return { case: 'jobUuid', value: uuid };
  if (image !== undefined) return { case: 'dockerImageLocator', value: image };
  if (output !== undefined) return { case: 'output', value: output };
  const of = repository ?? '';
  if (commit !== undefined) {
    return { case: 'commit', value: { $typeName: 'memoir.jobs.v1.CommitTarget', repository: of, commit } };
  }
  const range = { repository: of, introducedBy: introducedBy ?? '', fixedBy: fixedBy ?? '' };
  return { case: 'commitRange', value: { $typeName: 'memoir.jobs.v1.CommitRangeTarget', ...range } };
}
