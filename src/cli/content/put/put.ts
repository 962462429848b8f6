import { Command } from 'commander';
import { withClients } from '../../client.js';
import { type RemoteOptions, remote, withJson } from '../../options.js';
import { bytesText } from '../../text/bytes-text.js';
import { printLine } from '../../text/output.js';
import { printable } from '../../text/printable.js';
import { openPuts, type Put } from './puts.js';

type PutOptions = RemoteOptions & { readonly json?: boolean; readonly bare?: boolean };

/** `memoir put`. */
export function putCommand(): Command {
  const command = new Command('put')
    .description('leave files or directories with the server, so that jobs can be given them')
    .argument('<path...>', 'files and directories')
    .option('--bare', 'put a file without its name: equal files have one address, and a run finds it under that')
    .addHelpText(
      'after',
      `
Prints the address of each, and a parameter that is an input of the job that has it. Only what the server does not have from you
yet is sent. Links in a directory are kept, and may not lead out of it; empty directories and owners, times and permissions,
but for the executable bit, are not kept.`,
    );
  return remote(withJson(command)).action((paths: readonly string[], { json, bare = false, ...options }: PutOptions) =>
    withClients(options, async (clients) => {
      const puts = openPuts();
      const all: Put[] = [];
      for (const path of paths) all.push(await puts.add(path, { bare }));
      await puts.upload(clients);
      for (const put of all) {
        if (json) await printLine(JSON.stringify(put));
        else await printPut(put);
      }
    }),
  );
}

async function printPut({ path, address, parameter, files, bytes }: Put): Promise<void> {
  const count = `${files} ${files === 1 ? 'file' : 'files'}, ${bytesText(BigInt(bytes))}`;
  await printLine(`${address}  ${printable(path)}  (${count})`);
  await printLine(`  -p NAME=${shellText(parameter)}`);
}

/** A text as a shell takes it for one word. */
function shellText(text: string): string {
  const shown = printable(text);
  return /^[\w@%+=:,./-]+$/.test(shown) ? shown : `'${shown.replaceAll("'", "'\\''")}'`;
}
