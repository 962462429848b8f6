import { timestampDate } from '@bufbuild/protobuf/wkt';
import { Command } from 'commander';
import { WhoAmIResponseSchema } from '../../../gen/memoir/callers/v1/callers_service_pb.js';
import { withClients } from '../client.js';
import { type RemoteOptions, remote, withJson } from '../options.js';
import { printLine, printMessage } from '../text/output.js';
import { printable } from '../text/printable.js';
import { sheet } from '../text/table.js';

type Options = RemoteOptions & { readonly json?: boolean; readonly repository?: string };

/** `memoir whoami`. */
export function whoamiCommand(): Command {
  const command = new Command('whoami')
    .description('print who one is to the server, and by what it knows that')
    .option('--repository <name>', 'also what one may do in a repository');
  return remote(withJson(command)).action((options: Options) =>
    withClients(options, async ({ callers, unary }) => {
      const { repository = '' } = options;
      const answer = await callers.whoAmI({ repository }, unary);
      if (options.json) return printMessage(WhoAmIResponseSchema, answer);
      const { principal, credentialKind, credentialId, groups, expiresAt, actor, may } = answer;
      const by = credentialKind === '' ? 'its own word' : `${credentialKind} ${credentialId}`;
      const everywhere = [
        ...(answer.readsAll ? ['read all jobs'] : []),
        ...(answer.administersAll ? ['steer everything'] : []),
        ...(answer.delegates ? ['call on behalf of others'] : []),
      ];
      return printLine(
        sheet([
          ['principal', printable(principal)],
          ['by', printable(by)],
          ['until', expiresAt ? timestampDate(expiresAt).toISOString() : ''],
          ['groups', printable(groups.join(', '))],
          ['called by', printable(actor)],
          ['may', everywhere.join(', ')],
          [`may in ${printable(repository)}`, repository === '' ? '' : may.join(', ') || 'nothing'],
        ]),
      );
    }),
  );
}
