import { CommanderError } from 'commander';
import { MemoirError } from '../domain/errors.js';
import { CallError } from '../rpc/call-error.js';
import { quietLibrary } from '../rpc/library-log.js';
import { exitCode } from './exit-code.js';
import { program } from './program.js';
import { note } from './text/output.js';
import { printable, printableLines } from './text/printable.js';

/**
 * Runs `memoir` with arguments, those behind its name. What goes wrong is said on standard error; the process's exit code tells how it
 * ended, as `exitCodes` has it.
 */
export async function runCommand(args: readonly string[]): Promise<void> {
  quietLibrary();
  try {
    await program().parseAsync(args, { from: 'user' });
  } catch (error) {
    report(error);
    process.exitCode = exitCode(error);
  }
}

function report(error: unknown): void {
  if (error instanceof CommanderError) return;
  if (error instanceof CallError || error instanceof MemoirError) {
    note(`error: ${printableLines(error.message)}`);
    if (error.reason !== '') note(`  reason: ${printable(error.reason)}`);
    const fields = error instanceof CallError ? error.fields : error.field ? [error.field] : [];
    for (const field of fields) note(`  field: ${printable(field)}`);
    return;
  }
  note(`internal error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
}
