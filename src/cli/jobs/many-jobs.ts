import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Command } from 'commander';
import type { JobOutcome, JobSelectionSchema } from '../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { invalid } from '../../domain/errors.js';
import type { Clients } from '../client.js';
import { exitCodeOfOne } from '../exit-code.js';
import { integer, repeated } from '../options.js';
import { note, printLine } from '../text/output.js';
import { printable } from '../text/printable.js';
import { filtersOf } from './filter-option.js';
import { wholeUuid } from './uuid-prefix.js';

/** What a command takes that does something with one job or with many. */
export type ManyOptions = {
  readonly filter?: readonly string[];
  readonly limit?: number;
  readonly dryRun?: boolean;
};

/** Adds the options of `ManyOptions`. `which` says which of the jobs that match are meant. */
export function manyJobs(command: Command, which: string): Command {
  return command
    .option(
      '--filter <json>',
      `instead of uuids: ${which}, as ["attribute","operator",operand] (repeatable; all must hold)`,
      repeated,
    )
    .option('--limit <number>', 'with --filter: do nothing where more match (default: 100)', integer(1, 1_000))
    .option('--dry-run', 'print which jobs are meant, and do nothing');
}

/**
 * The jobs that a command means; undefined if it is one, named by its uuid.
 * @throws MemoirError INVALID_ARGUMENT naming what is missing or too much
 */
export async function selectionOf(
  clients: Clients,
  given: readonly string[],
  { filter, limit, dryRun = false }: ManyOptions,
): Promise<MessageInitShape<typeof JobSelectionSchema> | undefined> {
  const filters = filtersOf(filter);
  if (given.length > 0 && filters.length > 0) {
    throw invalid('selection', 'BAD_OPTIONS', 'uuids and --filter exclude each other');
  }
  if (given.length === 0 && filters.length === 0) {
    throw invalid('selection', 'REQUIRED', 'give uuids of jobs, or --filter for what is meant');
  }
  if (limit !== undefined && filters.length === 0) throw invalid('selection', 'BAD_OPTIONS', '--limit is for --filter');
  if (filters.length > 0) return { filters, limit: limit ?? 0, dryRun };
  if (given.length === 1 && !dryRun) return undefined;
  const uuids: string[] = [];
  for (const text of given) uuids.push(await wholeUuid(clients, text));
  return { uuids, dryRun };
}

/** Prints what became of each of many jobs. `done` says it in a word, such as "deleted". */
export async function printOutcomes(
  { outcomes, matching }: { readonly outcomes: readonly JobOutcome[]; readonly matching: bigint },
  done: string,
  dryRun: boolean,
): Promise<void> {
  for (const { uuid, error } of outcomes) {
    if (!error) {
      await printLine(dryRun ? printable(uuid) : `${done} ${printable(uuid)}`);
      continue;
    }
    note(`${printable(uuid)}: ${printable(error.message)}`);
    process.exitCode ??= exitCodeOfOne(error);
  }
  if (dryRun) note(`${matching} job${matching === 1n ? '' : 's'} would be ${done}; nothing was done`);
  else if (outcomes.length === 0) note('no job matches');
}
