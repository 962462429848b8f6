import { Command } from 'commander';
import { type Check, CheckOutcome } from '../../../gen/memoir/jobs/v1/check_pb.js';
import { GetChecksResponseSchema } from '../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { stateName } from '../../domain/job-state.js';
import { type Clients, withClients } from '../client.js';
import { exitCodes } from '../exit-code.js';
import { integer, type RemoteOptions, remote, withJson } from '../options.js';
import { note, printLine, printMessage } from '../text/output.js';
import { outputDifferences } from '../text/output-differences.js';
import { printable } from '../text/printable.js';
import { table } from '../text/table.js';
import { uuidHelp, wholeUuid } from './uuid-prefix.js';
import { interruptible, waitWithProgress } from './wait.js';

type CheckOptions = RemoteOptions & {
  readonly json?: boolean;
  readonly runs: number;
  readonly priority?: number;
  readonly wait: boolean;
  readonly list?: boolean;
  readonly differences: number;
};

/** `memoir check`. */
export function checkCommand(): Command {
  const command = new Command('check')
    .description(
      'run a complete job again in fresh places and compare the outputs, file by file; the exit code is 9 where one differs, and 1 where none does but a run failed',
    )
    .argument('<uuid>', uuidHelp)
    .option('--runs <number>', 'how often, from 1 to 10', integer(1, 10), 1)
    .option(
      '--priority <number>',
      'priority of the new runs (default: -1000, behind everything that is waited for)',
      integer(-0x8000_0000, 0x7fff_ffff),
    )
    .option('--differences <number>', 'how many differences of each run to show, from 1 to 1000', integer(1, 1_000), 20)
    .option('--no-wait', 'ask for the runs and print their uuids, without waiting for them')
    .option('--list', 'show what came of earlier runs, without new ones');
  return remote(withJson(command)).action((given: string, options: CheckOptions) =>
    withClients(options, async (clients) => {
      const uuid = await wholeUuid(clients, given);
      const runs = options.list ? [] : await runAgain(clients, uuid, options);
      if (!runs) return;
      const asked = { uuid, checks: [...runs], maxDifferences: options.differences };
      // Files may be large.
      const answer = await clients.jobs.getChecks(asked, {});
      process.exitCode = checkCode(answer.checks);
      if (options.json) return printMessage(GetChecksResponseSchema, answer);
      await printChecks(answer.checks, options.list === true);
    }),
  );
}

/** Uuids of new runs, when all have finished; undefined if they are not to be waited for. */
async function runAgain(
  clients: Clients,
  uuid: string,
  { runs, priority, wait }: CheckOptions,
): Promise<readonly string[] | undefined> {
  const asked = { uuid, runs, ...(priority !== undefined && { priority }) };
  const { checks, consistencyToken } = await clients.jobs.checkJob(asked, clients.unary);
  if (!wait) {
    for (const check of checks) await printLine(printable(check.uuid));
    return undefined;
  }
  for (const check of checks) {
    await interruptible(check.uuid, () => waitWithProgress(clients, check, consistencyToken));
  }
  return checks.map((check) => check.uuid);
}

/** The exit code that tells what came of runs. */
function checkCode(checks: readonly Check[]): number {
  const any = (outcome: CheckOutcome) => checks.some((check) => check.outcome === outcome);
  if (any(CheckOutcome.DIFFERENT)) return exitCodes.differs;
  return any(CheckOutcome.INCONCLUSIVE) ? exitCodes.jobFailed : exitCodes.ok;
}

async function printChecks(checks: readonly Check[], listing: boolean): Promise<void> {
  if (checks.length === 0) {
    note(listing ? 'it was never run again to compare' : 'no run can be read');
    return;
  }
  const rows = checks.map((check) => [printable(check.uuid), stateName(check.state), outcomeText(check)]);
  await printLine(table(['RUN', 'STATE', 'OUTPUT'], rows));
  for (const check of checks) {
    if (check.differences.length === 0) continue;
    const more = check.incomplete ? ', and more, or what could not be read' : '';
    await printLine(`\n${printable(check.uuid)} differs in${more}:`);
    await printLine(outputDifferences(check.differences));
  }
}

function outcomeText({ outcome, message }: Check): string {
  const why = message === '' ? '' : `: ${printable(message)}`;
  switch (outcome) {
    case CheckOutcome.SAME:
      return 'the same';
    case CheckOutcome.DIFFERENT:
      return `differs${why}`;
    case CheckOutcome.PENDING:
      return 'not yet';
    default:
      return `unknown${why}`;
  }
}
