import { Command } from 'commander';
import {
  HealthCheckResponse_ServingStatus as Health,
  HealthCheckResponseSchema,
} from '../../../gen/health/v1/health_pb.js';
import { MemoirError, quote } from '../../domain/errors.js';
import { withClients } from '../client.js';
import { type RemoteOptions, seconds, server, withJson } from '../options.js';
import { printLine, printMessage } from '../text/output.js';

type Options = RemoteOptions & { readonly service: string; readonly live?: boolean; readonly json?: boolean };

/** `memoir health`: for what watches over servers, which looks at the exit code. */
export function healthCommand(): Command {
  const command = new Command('health')
    .description('ask a server whether it answers calls, by grpc.health.v1; the exit code says so too: 0, else 6')
    .option('--service <name>', 'of one service alone, such as memoir.jobs.v1.JobsService', '')
    .option(
      '--live',
      'be content if the server answers at all, although it cannot serve now: what a restart does not mend',
    )
    .option('--timeout <seconds>', 'longest time for the answer', seconds(0.001, 3_600), 5);
  return server(withJson(command), 'who calls (default: name of the operating system user)').action(
    (options: Options) =>
      withClients(options, async ({ health, unary, address }) => {
        const answer = await health.check({ service: options.service }, unary);
        if (options.json) await printMessage(HealthCheckResponseSchema, answer);
        if (answer.status !== Health.SERVING && !options.live) {
          const what = options.service === '' ? '' : ` ${quote(options.service)}`;
          throw new MemoirError(
            'UNAVAILABLE',
            'NOT_SERVING',
            `the server at ${address} answers, and does not serve${what} now`,
          );
        }
        if (!options.json) await printLine(answer.status === Health.SERVING ? 'serving' : 'not serving');
      }),
  );
}
