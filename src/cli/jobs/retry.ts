import { Command } from 'commander';
import { RetryJobResponseSchema, RetryJobsResponseSchema } from '../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { withClients } from '../client.js';
import { integer, type RemoteOptions, remote, withJson } from '../options.js';
import { printLine, printMessage } from '../text/output.js';
import { printable } from '../text/printable.js';
import { type ManyOptions, manyJobs, printOutcomes, selectionOf } from './many-jobs.js';
import { uuidHelp, wholeUuid } from './uuid-prefix.js';

type RetryOptions = RemoteOptions & ManyOptions & { readonly json?: boolean; readonly priority?: number };

/** `memoir retry`. */
export function retryCommand(): Command {
  const command = new Command('retry')
    .description('run jobs that failed or were cancelled again, once each, with the same commit, image and parameters')
    .argument('[uuid...]', uuidHelp)
    .option(
      '--priority <number>',
      'priority of the new job (default: that of the old)',
      integer(-0x8000_0000, 0x7fff_ffff),
    );
  return remote(withJson(manyJobs(command, 'the failed and cancelled jobs that match'))).action(
    (given: readonly string[], options: RetryOptions) =>
      withClients(options, async (clients) => {
        const { priority, dryRun = false } = options;
        const asked = priority === undefined ? {} : { priority };
        const selection = await selectionOf(clients, given, options);
        if (selection) {
          const answer = await clients.jobs.retryJobs({ selection, ...asked }, clients.unary);
          if (options.json) return printMessage(RetryJobsResponseSchema, answer);
          for (const { retryOf, uuid, reused, sameWork } of answer.retried) {
            await printLine(retriedText(retryOf, uuid, reused, sameWork));
          }
          const outcomes = answer.outcomes.filter(({ error }) => dryRun || error);
          // What was done is told by the lines above.
          if (outcomes.length === 0 && answer.retried.length > 0) return;
          return printOutcomes({ ...answer, outcomes }, 'run again', dryRun);
        }
        const uuid = await wholeUuid(clients, given[0] as string);
        const answer = await clients.jobs.retryJob({ uuid, ...asked }, clients.unary);
        if (options.json) return printMessage(RetryJobResponseSchema, answer);
        const { uuid: by = '', retryOf = '' } = answer.job ?? {};
        await printLine(retriedText(uuid, by, answer.reused, retryOf !== uuid));
      }),
  );
}

/** `other` says that it is no job that runs the old one again, but one that was there for the same work. */
function retriedText(retryOf: string, uuid: string, reused: boolean, other: boolean): string {
  const how = other ? 'is the same work as' : reused ? 'was run again before by' : 'is run again by';
  return `${printable(retryOf)}: ${how} ${printable(uuid)}`;
}
