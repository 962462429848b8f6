import { Command } from 'commander';
import { GetCheckpointResponseSchema } from '../../../gen/memoir/audit/v1/audit_service_pb.js';
import { withClients } from '../client.js';
import { type RemoteOptions, remote, withJson } from '../options.js';
import { print, printLine, printMessage } from '../text/output.js';
import { printable, printableLines } from '../text/printable.js';

type Options = RemoteOptions & { readonly json?: boolean };

/** `memoir audit checkpoint`. */
export function auditCheckpointCommand(): Command {
  const command = new Command('checkpoint').description(
    'print a signed checkpoint of the log as it is now, to be kept',
  );
  return remote(withJson(command)).action((options: Options) =>
    withClients(options, async ({ audit, unary }) => {
      const answer = await audit.getCheckpoint({}, unary);
      if (options.json) await printMessage(GetCheckpointResponseSchema, answer);
      else await print(printableLines(answer.note));
    }),
  );
}

/** `memoir audit key`. */
export function auditKeyCommand(): Command {
  const command = new Command('key').description(
    'print the key that the server signs checkpoints with, as verifiers take it',
  );
  return remote(command).action((options: Options) =>
    withClients(options, async ({ audit, unary }) => printLine(printable((await audit.getCheckpoint({}, unary)).key))),
  );
}
