import { Command } from 'commander';
import type { ImportOptions } from './run-import.js';
import { ofStore } from './store-options.js';

/** `memoir import`. */
export function importCommand(): Command {
  const command = new Command('import')
    .description('record an exported log in an empty store, or go on with an import that was interrupted')
    .argument('<file>', 'file that `memoir export` wrote, compressed or not, "-" for standard input');
  return ofStore(command)
    .option('--dry-run', 'only check the file')
    .option('--json', 'say what was done as JSON')
    .addHelpText(
      'after',
      '\nNo server may run on the store meanwhile. The whole file is checked before anything is recorded.',
    )
    .action(async (file: string, options: ImportOptions) => {
      const { runImport } = await import('./run-import.js');
      await runImport(file, options);
    });
}
