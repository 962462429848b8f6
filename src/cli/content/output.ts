import { createHash } from 'node:crypto';
import { Command } from 'commander';
import {
  type OutputEntry,
  OutputEntry_Kind,
  OutputEntrySchema,
} from '../../../gen/memoir/content/v1/content_service_pb.js';
import type { Digest } from '../../../gen/memoir/jobs/v1/digest_pb.js';
import { MemoirError, quote } from '../../domain/errors.js';
import { systemEdge } from '../../edge.js';
import { type Clients, withClients } from '../client.js';
import { uuidHelp, wholeUuid } from '../jobs/uuid-prefix.js';
import { resumed } from '../log/resume.js';
import { integer, type RemoteOptions, remote, withJson } from '../options.js';
import { bytesText } from '../text/bytes-text.js';
import { note, print, printLine, printMessage } from '../text/output.js';
import { printable, printableLines } from '../text/printable.js';
import { progressLine } from '../text/progress-line.js';
import { type Fetching, fetchOutput } from './fetch-output.js';

/** `memoir output`. */
export function outputCommand(): Command {
  const output = new Command('output').description(
    'what a job made, where the server keeps it: list it, print it, fetch it',
  );
  const commands = [listCommand(), catCommand(), getCommand(), logCommand()];
  for (const one of [output, ...commands]) one.exitOverride();
  for (const one of commands) output.addCommand(one);
  return output;
}

const attemptHelp = 'what this attempt had made until it ended (default: the output of the job)';
const attemptNumber = integer(1, 0xffff_ffff);

function listCommand(): Command {
  const command = new Command('list')
    .description('list the files, directories and links in the output of a job, with their sizes')
    .argument('<uuid>', uuidHelp)
    .argument('[path]', 'only what is below this path of the output')
    .option('--top', 'only what lies directly there, not what is below that')
    .option('--attempt <number>', attemptHelp, attemptNumber, 0);
  type Options = RemoteOptions & { readonly json?: boolean; readonly top?: boolean; readonly attempt: number };
  return remote(withJson(command)).action(
    (given: string, path: string | undefined, { json, top, attempt, ...options }: Options) =>
      withClients(options, async (clients) => {
        const uuid = await wholeUuid(clients, given);
        const answers = clients.content.listOutput({ uuid, path: path ?? '', recursive: !top, attempt });
        for await (const { entries } of answers) {
          for (const entry of entries) {
            if (json) await printMessage(OutputEntrySchema, entry);
            else await printLine(entryText(entry));
          }
        }
      }),
  );
}

function entryText({ path, kind, digest, executable, target }: OutputEntry): string {
  const size = kind === OutputEntry_Kind.FILE ? bytesText(digest?.sizeBytes ?? 0n) : '';
  const mark = kind === OutputEntry_Kind.DIRECTORY ? '/' : executable ? '*' : '';
  const to = kind === OutputEntry_Kind.SYMLINK ? ` -> ${printable(target)}` : '';
  return `${size.padStart(8)}  ${printable(path)}${mark}${to}`;
}

function catCommand(): Command {
  const command = new Command('cat')
    .description('print a file of the output of a job')
    .argument('<uuid>', uuidHelp)
    .argument('<path>', 'path of the file in the output')
    .option('--attempt <number>', attemptHelp, attemptNumber, 0)
    .option('--offset <bytes>', 'begin at this byte', integer(0, Number.MAX_SAFE_INTEGER), 0);
  type Options = RemoteOptions & { readonly attempt: number; readonly offset: number };
  return remote(command).action((given: string, path: string, { attempt, offset, ...options }: Options) =>
    withClients(options, async (clients) => {
      const uuid = await wholeUuid(clients, given);
      await printBytes(quote(path), offset, async function* (at) {
        for await (const { data, file } of clients.content.readOutput({ uuid, path, attempt, offset: at })) {
          yield { data, digest: file?.digest };
        }
      });
    }),
  );
}

function logCommand(): Command {
  const command = new Command('log')
    .description('print the whole log of a job that has ended, as it was stored')
    .argument('<uuid>', uuidHelp)
    .option('--attempt <number>', 'that of this attempt (default: the last)', attemptNumber, 0)
    .option('--offset <bytes>', 'begin at this byte', integer(0, Number.MAX_SAFE_INTEGER), 0);
  type Options = RemoteOptions & { readonly attempt: number; readonly offset: number };
  return remote(command).action((given: string, { attempt, offset, ...options }: Options) =>
    withClients(options, async (clients) => {
      const uuid = await wholeUuid(clients, given);
      await printBytes('the log', offset, async function* (at) {
        for await (const { data, log } of clients.content.readLog({ uuid, attempt, offset: at }))
          yield { data, digest: log };
      });
    }),
  );
}

type Piece = { readonly data: Uint8Array; readonly digest: Digest | undefined };

/**
 * Prints bytes to standard output as they are, but on a terminal with control characters escaped; where they are all, they are verified.
 * @throws MemoirError DATA_LOSS if they were not those of their digest; CallError
 */
async function printBytes(what: string, offset: number, open: (at: bigint) => AsyncIterable<Piece>): Promise<void> {
  const hash = createHash('sha256');
  const decoder = new TextDecoder();
  let at = BigInt(offset);
  let wanted: Digest | undefined;
  for await (const { data, digest } of resumed(() => open(at))) {
    wanted ??= digest;
    at += BigInt(data.length);
    hash.update(data);
    if (process.stdout.isTTY) await print(printableLines(decoder.decode(data, { stream: true })));
    else await printRaw(data);
  }
  if (offset > 0 || hash.digest('hex') === wanted?.hash) return;
  throw new MemoirError('DATA_LOSS', 'BAD_BYTES', `the bytes of ${what} that came are not those of its digest`);
}

async function printRaw(data: Uint8Array): Promise<void> {
  if (data.length === 0 || process.stdout.write(data)) return;
  await new Promise<void>((resolve) => process.stdout.once('drain', resolve));
}

function getCommand(): Command {
  const command = new Command('get')
    .description('fetch the output of a job, or a part of it, into a directory')
    .argument('<uuid>', uuidHelp)
    .argument('[path]', 'only this file, or what is below this directory, of the output')
    .requiredOption('--to <directory>', 'where to; files get the paths that they have in the output')
    .option('--overwrite', 'replace other files that lie there')
    .option('--attempt <number>', attemptHelp, attemptNumber, 0)
    .addHelpText(
      'after',
      `
Every file is verified by its SHA-256, and gets its name once it is whole. What is there already is not fetched again, so
that the same command goes on where an interrupted one ended. Nothing is written through links that lie there.`,
    );
  type Options = RemoteOptions & { readonly to: string; readonly overwrite?: boolean; readonly attempt: number };
  return remote(command).action(
    (given: string, path: string | undefined, { to, overwrite = false, attempt, ...options }: Options) =>
      withClients(options, async (clients) => {
        const uuid = await wholeUuid(clients, given);
        await fetchWithProgress(clients, { uuid, path: path ?? '', to, overwrite, attempt });
      }),
  );
}

/** Fetches an output with a line of progress on a terminal, and says what is there in the end. @throws as `fetchOutput` */
export async function fetchWithProgress(clients: Clients, fetching: Fetching): Promise<void> {
  const line = await progressLine(`listing the output of ${printable(fetching.uuid)}`, systemEdge.monotonic);
  try {
    const { of, ofBytes } = await fetchOutput(clients, fetching, ({ files, of: all, bytes, ofBytes: whole }) =>
      line.set(`${files} of ${all} files, ${bytesText(bytes)} of ${bytesText(whole)}`),
    );
    line.stop();
    note(`${of} ${of === 1 ? 'file' : 'files'}, ${bytesText(ofBytes)}, in ${quote(fetching.to)}`);
  } finally {
    line.stop();
  }
}
