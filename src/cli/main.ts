#!/usr/bin/env -S node --max-semi-space-size=64

import { Command, CommanderError } from 'commander';
import { MemoirError } from '../domain/errors.js';
import { CallError } from '../rpc/call-error.js';
import { serverVersion } from '../version.js';
import { auditCommand } from './audit.js';
import { excludeCommand, exclusionsCommand, reinstateCommand } from './exclusions.js';
import { exitCode, exitCodeHelp } from './exit-code.js';
import { explainCommand } from './explain.js';
import { exportCommand } from './export.js';
import { historyCommand } from './history.js';
import { imageCommand, imagesCommand } from './images.js';
import { importCommand } from './import.js';
import { logCommand } from './log.js';
import { endWithReader, note } from './output.js';
import { printable, printableLines } from './printable.js';
import { getCommand, listCommand, queueCommand, watchCommand } from './read.js';
import { rangeCommand, reposCommand, resolveCommand } from './repositories.js';
import { serveCommand } from './serve.js';
import { cancelCommand, deleteCommand, updateCommand } from './steer.js';
import { submitCommand } from './submit.js';
import { tailCommand } from './tail.js';
import { workerCommand } from './worker.js';

function program(): Command {
  const memoir = new Command('memoir')
    .description('A job service that never runs the same computation twice and can show why.')
    .version(serverVersion)
    .showSuggestionAfterError()
    .addHelpText('after', exitCodeHelp);
  const commands = [
    submitCommand(),
    explainCommand(),
    getCommand(),
    listCommand(),
    queueCommand(),
    watchCommand(),
    logCommand(),
    historyCommand(),
    tailCommand(),
    cancelCommand(),
    updateCommand(),
    deleteCommand(),
    reposCommand(),
    resolveCommand(),
    rangeCommand(),
    imagesCommand(),
    imageCommand(),
    excludeCommand(),
    reinstateCommand(),
    exclusionsCommand(),
    auditCommand(),
    serveCommand(),
    workerCommand(),
    exportCommand(),
    importCommand(),
  ];
  for (const command of [memoir, ...commands]) command.exitOverride();
  for (const command of commands) memoir.addCommand(command);
  return memoir;
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

endWithReader();
try {
  await program().parseAsync();
} catch (error) {
  report(error);
  process.exitCode = exitCode(error);
}
