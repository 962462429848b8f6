import { Command } from 'commander';
import { TailJobLogResponseSchema } from '../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { type Clients, withClients } from '../client.js';
import { resumed } from '../log/resume.js';
import { integer, type RemoteOptions, remote, withJson } from '../options.js';
import { note, print, printMessage } from '../text/output.js';
import { printableLines } from '../text/printable.js';
import { uuidHelp, wholeUuid } from './uuid-prefix.js';

/** `memoir log`. */
export function logCommand(): Command {
  const command = new Command('log')
    .description('print the live log of a job, and follow it until the job has finished')
    .argument('<uuid>', uuidHelp)
    .option('--no-follow', 'end at what the log holds now')
    .option('--offset <bytes>', 'begin at this byte', integer(0, Number.MAX_SAFE_INTEGER), 0);
  type LogOptions = RemoteOptions & { readonly json?: boolean; readonly follow: boolean; readonly offset: number };
  return remote(withJson(command)).action((given: string, { json = false, follow, offset, ...options }: LogOptions) =>
    withClients(options, async (clients) => {
      const uuid = await wholeUuid(clients, given);
      await streamLog(clients, { uuid, offset, noFollow: !follow, json });
    }),
  );
}

/**
 * Prints a job's live log to standard output: its bytes as they are, but on a terminal with control characters escaped.
 * @throws CallError
 */
export async function streamLog(
  clients: Clients,
  settings: { uuid: string; offset?: number; noFollow?: boolean; json?: boolean },
): Promise<void> {
  let offset = BigInt(settings.offset ?? 0);
  const open = () => clients.jobs.tailJobLog({ uuid: settings.uuid, offset, noFollow: settings.noFollow ?? false });
  for await (const piece of resumed(open)) {
    offset = piece.offset + BigInt(Buffer.byteLength(piece.text));
    if (settings.json) await printMessage(TailJobLogResponseSchema, piece);
    else await print(process.stdout.isTTY ? printableLines(piece.text) : piece.text);
    if (piece.truncated) note('the live log ends here, at its limit; all of it is in the log that the job names');
  }
}
