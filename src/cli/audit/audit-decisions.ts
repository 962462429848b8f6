import { Command } from 'commander';
import { integer } from '../options.js';
import { ofAudit } from './audit-options.js';
import type { AuditDecisionsOptions } from './run-audit-decisions.js';

const position = integer(0, Number.MAX_SAFE_INTEGER);

/** `memoir audit decisions`. */
export function auditDecisionsCommand(): Command {
  const command = new Command('decisions')
    .description(
      'take every recorded decision of reuse again from the log before it, and print those that come out otherwise',
    )
    .option('--from <position>', 'only decisions recorded after this position of the log', position, 0)
    .option('--to <position>', 'only decisions recorded up to this position (default: the end)', position);
  return ofAudit(command)
    .addHelpText('after', '\nReads the store itself, while a server runs too. Exit code 1: a decision differs.')
    .action(async (options: AuditDecisionsOptions) => {
      // Loaded only here: the other commands start faster without a server's libraries.
      const { runAuditDecisions } = await import('./run-audit-decisions.js');
      await runAuditDecisions(options);
    });
}
