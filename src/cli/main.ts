#!/usr/bin/env -S node --max-semi-space-size=64

import { CommanderError } from 'commander';
import { MemoirError } from '../domain/errors.js';
import { CallError } from '../rpc/call-error.js';
import { exitCode } from './exit-code.js';
import { program } from './program.js';
import { endWithReader, note } from './text/output.js';
import { printable, printableLines } from './text/printable.js';

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

endWithReader();
try {
  await program().parseAsync();
} catch (error) {
  report(error);
  process.exitCode = exitCode(error);
}
