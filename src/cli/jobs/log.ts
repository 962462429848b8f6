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
    .option('--attempt <number>', 'begin with this attempt', integer(1, 0xffff_ffff))
    .option('--offset <bytes>', 'begin at this byte of its log', integer(0, Number.MAX_SAFE_INTEGER), 0);
  type LogOptions = RemoteOptions & {
    readonly json?: boolean;
    readonly follow: boolean;
    readonly attempt?: number;
    readonly offset: number;
  };
  return remote(withJson(command)).action(
    (given: string, { json = false, follow, attempt = 0, offset, ...options }: LogOptions) =>
      withClients(options, async (clients) => {
        const uuid = await wholeUuid(clients, given);
        await streamLog(clients, { uuid, attempt, offset, noFollow: !follow, json });
      }),
  );
}

/**
 * Prints a job's live log to standard output: its bytes as they are, but on a terminal with control characters escaped.
 * @throws CallError
 */
export async function streamLog(
  clients: Clients,
  settings: { uuid: string; attempt?: number; offset?: number; noFollow?: boolean; json?: boolean },
): Promise<void> {
  let attempt = settings.attempt ?? 0;
  let offset = BigInt(settings.offset ?? 0);
  const { uuid, noFollow = false } = settings;
  const open = () => clients.jobs.tailJobLog({ uuid, attempt, offset, noFollow });
  for await (const piece of resumed(open)) {
    if (piece.attempt > Math.max(attempt, 1)) note(`attempt ${piece.attempt} begins`);
    attempt = piece.attempt;
    offset = piece.offset + BigInt(Buffer.byteLength(piece.text));
    if (settings.json) await printMessage(TailJobLogResponseSchema, piece);
    else await print(process.stdout.isTTY ? printableLines(piece.text) : piece.text);
    if (piece.truncated) note('the live log ends here, at its limit; all of it is in the log that the attempt names');
  }
}
