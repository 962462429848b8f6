import { Command } from 'commander';
import {
  type AddedPlace,
  AddRepositoryResponseSchema,
  ListRepositoriesResponseSchema,
  ResolveRefspecResponseSchema,
} from '../../../gen/memoir/repositories/v1/repositories_service_pb.js';
import { withClients } from '../client.js';
import { integer, type RemoteOptions, remote, repeated, withJson } from '../options.js';
import { note, printLine, printMessage } from '../text/output.js';
import { printable } from '../text/printable.js';
import { styled } from '../text/style.js';
import { table } from '../text/table.js';

type JsonOptions = RemoteOptions & { readonly json?: boolean };
type RangeOptions = RemoteOptions & {
  readonly minimum?: string;
  readonly exclude?: readonly string[];
  readonly limit: number;
  readonly count?: boolean;
};

/** `memoir repos`, which lists, and those that add and remove. */
export function reposCommand(): Command {
  return new Command('repos')
    .description('list, add and remove the repositories that jobs can be taken from')
    .addCommand(listCommand(), { isDefault: true })
    .addCommand(addCommand())
    .addCommand(removeCommand());
}

function listCommand(): Command {
  const command = new Command('list').description('print the repositories that jobs can be taken from');
  return remote(withJson(command)).action((options: JsonOptions) =>
    withClients(options, async (clients) => {
      const answer = await clients.repositories.listRepositories({}, clients.unary);
      if (options.json) return printMessage(ListRepositoriesResponseSchema, answer);
      if (answer.repositories.length === 0) return note('no repositories');
      const rows = answer.repositories.map(({ name, head, problem, added }) => [
        printable(name),
        problem === '' ? printable(head) : styled('red', printable(problem)),
        added ? printable(placeText(added)) : '',
      ]);
      return printLine(table(['REPOSITORY', 'HEAD', 'ADDED FROM'], rows));
    }),
  );
}

const placeText = ({ path, url, credential }: AddedPlace): string =>
  `${path}${url}${credential === '' ? '' : ` (credential ${credential})`}`;

type AddOptions = JsonOptions & { readonly credential?: string; readonly replace?: boolean };

function addCommand(): Command {
  const command = new Command('add')
    .description('let jobs be taken from a repository, at every server of the log')
    .argument('<name>', 'what jobs call it')
    .argument('<place>', 'directory on the servers, absolute, or URL without user and password')
    .option('--credential <name>', "credential of the servers' configuration that is sent to the URL")
    .option('--replace', 'let the name mean this place although it was added with another one');
  return remote(withJson(command)).action((name: string, place: string, options: AddOptions) =>
    withClients(options, async (clients) => {
      const { credential = '', replace = false } = options;
      const at = place.includes('://') ? { url: place } : { path: place };
      const answer = await clients.repositories.addRepository({ name, ...at, credential, replace }, clients.unary);
      if (options.json) return printMessage(AddRepositoryResponseSchema, answer);
      const { head = '', problem = '' } = answer.repository ?? {};
      return note(`added ${printable(name)}, ${problem === '' ? `HEAD ${printable(head)}` : printable(problem)}`);
    }),
  );
}

function removeCommand(): Command {
  const command = new Command('remove')
    .description('take no more jobs from a repository that was added; its jobs can be read as before')
    .argument('<name>', 'what jobs call it');
  return remote(command).action((name: string, options: RemoteOptions) =>
    withClients(options, async (clients) => {
      await clients.repositories.removeRepository({ name }, clients.unary);
      note(`removed ${printable(name)}`);
    }),
  );
}

/** `memoir resolve`. */
export function resolveCommand(): Command {
  const command = new Command('resolve')
    .description('print the commit that a refspec names now')
    .argument('<repository>', 'repository, as the server names it')
    .argument('[refspec]', 'commit, branch, tag or other refspec', 'HEAD');
  return remote(withJson(command)).action((repository: string, refspec: string, options: JsonOptions) =>
    withClients(options, async (clients) => {
      const answer = await clients.repositories.resolveRefspec({ repository, refspec }, clients.unary);
      if (options.json) await printMessage(ResolveRefspecResponseSchema, answer);
      else await printLine(printable(answer.commit));
    }),
  );
}

/** `memoir range`. */
export function rangeCommand(): Command {
  const command = new Command('range')
    .description('print the commits of a range as "in git" has it: up to a refspec, from --minimum on, less --exclude')
    .argument('<repository>', 'repository, as the server names it')
    .argument('[maximum]', 'refspec of the newest commit', 'HEAD')
    .option('--minimum <refspec>', 'refspec of the oldest commit (default: the newest one)')
    .option('--exclude <refspec>', 'leave this commit out (repeatable)', repeated)
    .option('--limit <number>', 'most commits to print, 0 for all', integer(0, 0xffff_ffff), 0)
    .option('--count', 'print only how many there are');
  return remote(command).action((repository: string, maximum: string, options: RangeOptions) =>
    withClients(options, async (clients) => {
      const { minimum = '', exclude = [], limit } = options;
      const range = { repository, maximum, minimum, exclude: [...exclude], limit };
      let count = 0;
      for await (const { commits } of clients.repositories.expandRange(range)) {
        count += commits.length;
        if (!options.count) for (const commit of commits) await printLine(printable(commit));
      }
      if (options.count) await printLine(String(count));
    }),
  );
}
