import { type Command, Option } from 'commander';
import type { Sources } from '../../config/settings.js';

/** What every command takes that works on a log without a server. */
export type StoreOptions = {
  readonly config?: string;
  readonly dataDir?: string;
  readonly store?: string;
};

/** Adds the options of `StoreOptions`, which mean what they mean for `memoir serve`. */
export function ofStore(command: Command): Command {
  return command
    .addOption(new Option('--config <file>', "TOML file of a server's settings").env('MEMOIR_CONFIG'))
    .option('--data-dir <directory>', 'data directory of the server (MEMOIR_DATA_DIR)')
    .option('--store <url>', 'event store (MEMOIR_STORE; default: sqlite in the data directory)');
}

/** Where the settings of such a command come from. */
export function sourcesOf({ config, dataDir, store }: StoreOptions): Sources {
  const flags = { data_dir: dataDir, store };
  return { file: config, environment: process.env, flags, directory: process.cwd() };
}
