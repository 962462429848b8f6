import { Command, Option } from 'commander';
import type { ExportOptions } from './run-export.js';
import { ofStore } from './store-options.js';

/** `memoir export`. */
export function exportCommand(): Command {
  const command = new Command('export')
    .description('write the whole log to a file, while a server runs or not')
    .argument('[file]', 'file to write, "-" for standard output', '-');
  return ofStore(command)
    .addOption(new Option('--compress <how>', 'default: by the name, .gz or .zst').choices(['none', 'gzip', 'zstd']))
    .option('--force', 'replace an earlier export of that name')
    .option('--json', 'say what was written as JSON; on standard error where the log is on standard output')
    .action(async (file: string, options: ExportOptions) => {
      const { runExport } = await import('./run-export.js');
      await runExport(file, options);
    });
}
