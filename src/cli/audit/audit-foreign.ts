import { Command } from 'commander';
import { type AuditOptions, ofAudit } from './audit-options.js';

/** `memoir audit foreign`. */
export function auditForeignCommand(): Command {
  const command = new Command('foreign').description(
    'name what is in the log that no Memoir wrote or that is malformed, and jobs whose stream was truncated or deleted',
  );
  return ofAudit(command)
    .addHelpText(
      'after',
      '\nServers pass over such events; only their revisions count. Exit code 7: there is one. See docs/kurrentdb.md.',
    )
    .action(async (options: AuditOptions) => {
      // Loaded only here: the other commands start faster without a server's libraries.
      const { runAuditForeign } = await import('./run-audit-foreign.js');
      await runAuditForeign(options);
    });
}
