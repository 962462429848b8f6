import { type Command, Option } from 'commander';
import { named } from './options.js';

/** What every command takes that reads a store itself, as a server is told it. */
export type StoreOptions = {
  readonly config?: string;
  readonly dataDir?: string;
  readonly store?: string;
  readonly repository?: Readonly<Record<string, string>>;
  readonly tempDir?: string;
  readonly json?: boolean;
};

/** Adds the options of `StoreOptions`. */
export function ofStore(command: Command): Command {
  return command
    .addOption(new Option('--config <file>', "a server's TOML file of settings").env('MEMOIR_CONFIG'))
    .option('--data-dir <directory>', "a server's data directory (MEMOIR_DATA_DIR)")
    .option('--store <url>', 'event store (MEMOIR_STORE; default: sqlite in the data directory)')
    .option('--repository <name=path>', 'a local git repository (repeatable; MEMOIR_REPOSITORIES=name=path,…)', named)
    .option(
      '--temp-dir <directory>',
      "where to build what is compared; as big as the server's own (default: the system's)",
    )
    .option('--json', 'print JSON, one object a line');
}
