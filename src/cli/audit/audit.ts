import { Command } from 'commander';
import { auditCheckpointCommand, auditKeyCommand } from './audit-checkpoint.js';
import { auditConsistencyCommand } from './audit-consistency.js';
import { auditDecisionsCommand } from './audit-decisions.js';
import { auditForeignCommand } from './audit-foreign.js';
import { auditInclusionCommand } from './audit-inclusion.js';
import { auditRebuildCommand } from './audit-rebuild.js';
import { auditVerifyCommand } from './audit-verify.js';

/** `memoir audit` and its verbs, each from a file of its own. */
export function auditCommand(): Command {
  const audit = new Command('audit').description('check what was recorded');
  const commands = [
    auditCheckpointCommand(),
    auditKeyCommand(),
    auditConsistencyCommand(),
    auditInclusionCommand(),
    auditVerifyCommand(),
    auditDecisionsCommand(),
    auditRebuildCommand(),
    auditForeignCommand(),
  ];
  for (const command of commands) {
    command.exitOverride();
    audit.addCommand(command);
  }
  return audit;
}
