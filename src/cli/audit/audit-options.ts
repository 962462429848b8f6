import type { Command } from 'commander';
import { ofStore, type StoreOptions } from '../log/store-options.js';
import { named } from '../options.js';
import { type KeyOptions, withKeys } from './audit-evidence.js';

/** What every command takes that audits what a server derived from a log. */
export type AuditOptions = StoreOptions &
  KeyOptions & {
    readonly repository?: Readonly<Record<string, string>>;
    readonly tempDir?: string;
    readonly json?: boolean;
  };

/** Adds the options of `AuditOptions`. */
export function ofAudit(command: Command): Command {
  return withKeys(ofStore(command))
    .option('--repository <name=path>', 'a local git repository (repeatable; MEMOIR_REPOSITORIES=name=path,…)', named)
    .option(
      '--temp-dir <directory>',
      "where to build what is compared; as big as the server's own (default: the system's)",
    )
    .option('--json', 'print JSON, one object a line');
}
