import { Command } from 'commander';
import { MemoirError, messageOf } from '../../domain/errors.js';
import { note, printLine } from '../text/output.js';
import { printable } from '../text/printable.js';
import { sheet, table } from '../text/table.js';

/** `memoir policy`. */
export function policyCommand(): Command {
  const policy = new Command('policy').description('say what a policy allows, before a server has it');
  const check = new Command('check')
    .description('say whether a file is a policy, what it gives to whom, and which of it gives nothing')
    .argument('<file>', 'TOML file of the policy')
    .option('--json', 'print JSON')
    .action(async (file: string, { json }: { readonly json?: boolean }) => {
      const { checkPolicy } = await import('../../policy/check-policy.js');
      const { given, warnings } = await told(() => checkPolicy(file));
      if (json) return printLine(JSON.stringify({ grants: given, warnings }));
      const cells = given.map(({ to, roles, repositories, bounds }) =>
        [to, roles, repositories, bounds].map((texts) => printable(texts.join(', '))),
      );
      await printLine(table(['TO', 'ROLES', 'REPOSITORIES', 'AT MOST'], cells));
      for (const warning of warnings) note(`warning: ${printable(warning)}`);
    });
  const explain = new Command('explain')
    .description('say what a policy lets a principal do in a repository, and by which grants')
    .argument('<file>', 'TOML file of the policy')
    .requiredOption('--principal <name>', 'who')
    .requiredOption('--repository <name>', 'where')
    .option('--group <name...>', "groups that its token puts it in, beside the policy's own")
    .option('--json', 'print JSON')
    .action(async (file: string, asked: ExplainOptions) => {
      const { explainPolicy } = await import('../../policy/check-policy.js');
      const { principal, repository, group = [] } = asked;
      const explained = await told(() => explainPolicy(file, { principal, repository, groups: group }));
      if (asked.json) return printLine(JSON.stringify(explained));
      const { may, mayNot, grants, bounds } = explained;
      await printLine(
        sheet([
          ['may', may.join(', ') || 'nothing, but read and steer jobs of its own'],
          ['may not', mayNot.join(', ')],
          ['at most', bounds.join(', ')],
        ]),
      );
      for (const grant of grants) await printLine(`by the grant ${printable(grant)}`);
    });
  for (const one of [policy, check, explain]) one.exitOverride();
  return policy.addCommand(check).addCommand(explain);
}

type ExplainOptions = {
  readonly principal: string;
  readonly repository: string;
  readonly group?: readonly string[];
  readonly json?: boolean;
};

async function told<T>(work: () => T): Promise<T> {
  try {
    return work();
  } catch (error) {
    if (error instanceof MemoirError) throw error;
    throw new MemoirError('INVALID_ARGUMENT', 'BAD_POLICY', messageOf(error), { cause: error });
  }
}
