import { Command } from 'commander';
import { CheckOutcome } from '../../../gen/memoir/jobs/v1/check_pb.js';
import {
  ComparedPart,
  type CompareJobsResponse,
  CompareJobsResponseSchema,
} from '../../../gen/memoir/jobs/v1/comparison_pb.js';
import { withClients } from '../client.js';
import { exitCodes } from '../exit-code.js';
import { integer, type RemoteOptions, remote, withJson } from '../options.js';
import { comparisonText } from '../text/comparison-text.js';
import { printLine, printMessage } from '../text/output.js';
import { uuidHelp, wholeUuid } from './uuid-prefix.js';

type DiffOptions = RemoteOptions & { readonly json?: boolean; readonly differences: number };

/** `memoir diff`. */
export function diffCommand(): Command {
  const command = new Command('diff')
    .description(
      'print in what two jobs differ: what was asked for and what that resolved to, code, inputs, outputs file by file, and how the runs went; the exit code is 9 if any but the runs differ, and 8 if not all could be told',
    )
    .argument('<a>', uuidHelp)
    .argument('<b>', 'the same of the other job')
    .option('--differences <number>', 'how many of each kind to show, from 1 to 1000', integer(1, 1_000), 100);
  return remote(withJson(command)).action((one: string, other: string, options: DiffOptions) =>
    withClients(options, async (clients) => {
      const [a, b] = [await wholeUuid(clients, one), await wholeUuid(clients, other)];
      // Files may be large.
      const answer = await clients.jobs.compareJobs({ a, b, maxDifferences: options.differences }, {});
      process.exitCode = diffCode(answer);
      if (options.json) await printMessage(CompareJobsResponseSchema, answer);
      else await printLine(comparisonText(answer));
    }),
  );
}

/** The exit code that tells whether two jobs differ. */
function diffCode({ same, differences, code, inputs, output }: CompareJobsResponse): number {
  if (same) return exitCodes.ok;
  const differs =
    differences.some(({ part }) => part !== ComparedPart.RUN) ||
    (code?.changes ?? []).length > 0 ||
    inputs.length > 0 ||
    output?.outcome === CheckOutcome.DIFFERENT;
  return differs ? exitCodes.differs : exitCodes.unproved;
}
