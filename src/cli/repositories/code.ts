import { Command } from 'commander';
import {
  type GetCodeResponse,
  GetCodeResponseSchema,
} from '../../../gen/memoir/repositories/v1/repositories_service_pb.js';
import { type Clients, withClients } from '../client.js';
import { uuidHelp, wholeUuid } from '../jobs/uuid-prefix.js';
import { type RemoteOptions, remote, withJson } from '../options.js';
import { printLine, printMessage } from '../text/output.js';
import { printable } from '../text/printable.js';
import { table } from '../text/table.js';

type CodeOptions = RemoteOptions & { readonly repository?: string; readonly json?: boolean };

/** `memoir code`. */
export function codeCommand(): Command {
  const command = new Command('code')
    .description(
      'print what a commit has at code paths, and the digest by which the same code is found in other commits',
    )
    .argument('<uuid|refspec>', `${uuidHelp}; with --repository a commit, branch, tag or other refspec`)
    .argument('[path...]', "files or directories (default: the job's code paths, else the repository's, else all)")
    .option('--repository <name>', 'repository of the refspec, as the server names it');
  return remote(withJson(command)).action((what: string, codePaths: string[], options: CodeOptions) =>
    withClients(options, async (clients) => {
      const answer = await clients.repositories.getCode(await asked(clients, what, codePaths, options), clients.unary);
      if (options.json) await printMessage(GetCodeResponseSchema, answer);
      else await printLine(codeText(answer));
    }),
  );
}

async function asked(clients: Clients, what: string, codePaths: string[], { repository }: CodeOptions) {
  if (repository !== undefined) return { repository, refspec: what, codePaths };
  return { uuid: await wholeUuid(clients, what), codePaths };
}

function codeText({ codeDigest, commit, entries }: GetCodeResponse): string {
  const rows = entries.map(({ path, mode, oid }) => [printable(mode), printable(oid), printable(path)]);
  return [`${printable(codeDigest)} of commit ${printable(commit)}`, table(['MODE', 'OBJECT', 'PATH'], rows)].join(
    '\n',
  );
}
