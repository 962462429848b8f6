import { Command } from 'commander';
import { type AuditOptions, ofAudit } from './audit-options.js';

/** `memoir audit rebuild`. */
export function auditRebuildCommand(): Command {
  const command = new Command('rebuild').description(
    "build everything that a server derived from the log again, and compare it with the server's own files row by row",
  );
  return ofAudit(command)
    .addHelpText(
      'after',
      '\nReads the files themselves, while a server runs too. Exit code 7: a row differs, or a file is damaged.',
    )
    .action(async (options: AuditOptions) => {
      // Loaded only here: the other commands start faster without a server's libraries.
      const { runAuditRebuild } = await import('./run-audit-rebuild.js');
      await runAuditRebuild(options);
    });
}
