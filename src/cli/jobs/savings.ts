import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Command, InvalidArgumentError } from 'commander';
import {
  type GetSavingsResponse,
  GetSavingsResponseSchema,
  SavingsDimension,
  type SavingsRow,
} from '../../../gen/memoir/jobs/v1/savings_pb.js';
import { type AsOfOptions, withAsOf } from '../as-of.js';
import { type Clients, withClients } from '../client.js';
import { integer, type RemoteOptions, remote, withJson } from '../options.js';
import { note, printLine, printMessage } from '../text/output.js';
import { savingsTable } from '../text/savings-text.js';
import { time, timeForms } from '../time-option.js';

type SavingsOptions = RemoteOptions &
  AsOfOptions & {
    readonly json?: boolean;
    readonly by?: readonly SavingsDimension[];
    readonly since?: number;
    readonly until?: number;
    readonly owner?: string;
    readonly repository?: string;
    readonly script?: string;
    readonly limit: number;
  };

const dimensions: ReadonlyMap<string, SavingsDimension> = new Map([
  ['owner', SavingsDimension.OWNER],
  ['repository', SavingsDimension.REPOSITORY],
  ['script', SavingsDimension.SCRIPT],
  ['day', SavingsDimension.DAY],
]);

/** `memoir savings`. */
export function savingsCommand(): Command {
  const command = new Command('savings')
    .description('print what runs took, and what answers with past and common runs saved')
    .option('--by <names>', 'tell apart owner, repository, script, day (repeatable, or as "day,script")', apart)
    .option('--since <time>', `the first day, in UTC: that of ${timeForms}`, time(Date.now))
    .option('--until <time>', 'the last day, likewise', time(Date.now))
    .option('--owner <principal>', 'only what counts for this principal')
    .option('--repository <name>', 'only this repository')
    .option('--script <path>', 'only this script')
    .option('--limit <number>', 'most rows to print', integer(1, 1_000_000), 1_000);
  return remote(withJson(withAsOf(command))).action((options: SavingsOptions) =>
    withClients(options, async (clients) => {
      const { answer, more } = await pages(clients, options);
      if (options.json) await printMessage(GetSavingsResponseSchema, answer);
      else await printLine(savingsTable(answer, options.by ?? []));
      if (more) note(`there are more rows than these ${answer.rows.length}; see --limit`);
      if (answer.answersLeftOut)
        note('you are not told who was answered in some repository, so that more may be saved');
    }),
  );
}

function apart(text: string, before: readonly SavingsDimension[] = []): readonly SavingsDimension[] {
  const named = text.split(',').map((name) => dimensions.get(name.trim()));
  if (named.includes(undefined)) throw new InvalidArgumentError(`Give some of ${[...dimensions.keys()].join(', ')}.`);
  return [...new Set([...before, ...(named as SavingsDimension[])])];
}

/** The answer with as many rows as are to be printed. */
async function pages(clients: Clients, options: SavingsOptions) {
  const { by = [], since, until, owner = '', repository = '', script = '', limit, asOf } = options;
  const asked = {
    by: [...by],
    owner,
    repository,
    script,
    ...(since !== undefined && { since: timestampFromMs(since) }),
    ...(until !== undefined && { until: timestampFromMs(until) }),
    ...(asOf && { asOf }),
  };
  const rows: SavingsRow[] = [];
  let answer: GetSavingsResponse | undefined;
  let pageToken = '';
  do {
    const pageSize = Math.min(limit - rows.length, 1_000);
    answer = await clients.jobs.getSavings({ ...asked, pageSize, pageToken }, clients.unary);
    rows.push(...answer.rows);
    pageToken = answer.nextPageToken;
  } while (pageToken !== '' && rows.length < limit);
  return { answer: create(GetSavingsResponseSchema, { ...answer, rows, nextPageToken: '' }), more: pageToken !== '' };
}
