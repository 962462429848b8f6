import { Command, Option } from 'commander';
import { GetLineageResponseSchema, LineageDirection } from '../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { withClients } from '../client.js';
import { integer, type RemoteOptions, remote, withJson } from '../options.js';
import { lineageDot, lineageTrees } from '../text/lineage-text.js';
import { note, printLine, printMessage } from '../text/output.js';
import { uuidHelp, wholeUuid } from './uuid-prefix.js';

type LineageOptions = RemoteOptions & {
  readonly up?: boolean;
  readonly down?: boolean;
  readonly depth: number;
  readonly limit: number;
  readonly dot?: boolean;
  readonly json?: boolean;
};

/** `memoir lineage`. */
export function lineageCommand(): Command {
  const command = new Command('lineage')
    .description('print which jobs gave what a job took, and which took what it gave')
    .argument('<uuid>', uuidHelp)
    .option('--up', 'only what it came from')
    .addOption(new Option('--down', 'only what came of it').conflicts('up'))
    .option('--depth <number>', 'most steps to go', integer(1, 100), 10)
    .option('--limit <number>', 'most jobs to print', integer(1, 1_000), 200)
    .addOption(new Option('--dot', 'print a graph for Graphviz').conflicts('json'));
  return remote(withJson(command)).action((given: string, options: LineageOptions) =>
    withClients(options, async (clients) => {
      const { up, down, depth: maxDepth, limit: maxJobs } = options;
      const uuid = await wholeUuid(clients, given);
      const direction = up ? LineageDirection.UP : down ? LineageDirection.DOWN : LineageDirection.UNSPECIFIED;
      const lineage = await clients.jobs.getLineage({ uuid, direction, maxDepth, maxJobs }, clients.unary);
      if (options.json) await printMessage(GetLineageResponseSchema, lineage);
      else await printLine(options.dot ? lineageDot(lineage) : lineageTrees(lineage, direction));
      if (lineage.truncated) note(`there is more than ${lineage.jobs.length} jobs; see --limit`);
    }),
  );
}
