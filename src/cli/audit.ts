import { Command } from 'commander';

/** `memoir audit` and its verbs, each from a file of its own. */
export function auditCommand(): Command {
  const audit = new Command('audit').description('check what was recorded');
  const commands: readonly Command[] = [];
  for (const command of commands) {
    command.exitOverride();
    audit.addCommand(command);
  }
  return audit;
}
