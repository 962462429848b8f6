import { Command } from 'commander';
import { ofStore } from '../log/store-options.js';
import { integer, repeated } from '../options.js';
import { withKeys } from './audit-evidence.js';
import type { VerifyOptions } from './run-verify.js';

/** `memoir audit verify`. */
export function auditVerifyCommand(): Command {
  const command = new Command('verify')
    .description('hash the whole log again and prove by checkpoints that nothing was altered, dropped or reordered')
    .option('--checkpoint <file>', 'a checkpoint that was kept (repeatable)', repeated)
    .option('--export <file>', 'verify this export of a log (memoir export), not a store')
    .option('--history <file>', "the server's history.sqlite, to say where damage is (default: in the data directory)")
    .option(
      '--structure',
      "have SQLite check the log file's structure and indexes too, which takes longer than the rest",
    )
    .option('--threads <number>', 'threads that read and hash an SQLite log', integer(1, 64), 2)
    .option('--json', 'print what was found as JSON');
  return withKeys(ofStore(command))
    .addHelpText(
      'after',
      '\nWithout --key the key in the data directory is trusted, which proves nothing against whoever could take it.' +
        '\nExit code 7: damage. Exit code 8: no checkpoint by a trusted key is of this log, so that nothing is proved.',
    )
    .action(async (options: VerifyOptions) => {
      const { runVerify } = await import('./run-verify.js');
      await runVerify(options);
    });
}
