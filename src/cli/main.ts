#!/usr/bin/env -S node --max-semi-space-size=64

import { Command, CommanderError } from 'commander';
import { MemoirError } from '../domain/errors.js';
import { CallError } from '../rpc/call-error.js';
import { serverVersion } from '../version.js';
import { auditCommand } from './audit/audit.js';
import { historyCommand } from './audit/history.js';
import { exitCode, exitCodeHelp } from './exit-code.js';
import { imageCommand, imagesCommand } from './images/images.js';
import { excludeCommand, exclusionsCommand, reinstateCommand } from './jobs/exclusions.js';
import { explainCommand } from './jobs/explain.js';
import { logCommand } from './jobs/log.js';
import { getCommand, listCommand, queueCommand, watchCommand } from './jobs/read.js';
import { cancelCommand, deleteCommand, updateCommand } from './jobs/steer.js';
import { submitCommand } from './jobs/submit.js';
import { exportCommand } from './log/export.js';
import { importCommand } from './log/import.js';
import { tailCommand } from './log/tail.js';
import { rangeCommand, reposCommand, resolveCommand } from './repositories/repositories.js';
import { serveCommand } from './server/serve.js';
import { workerCommand } from './server/worker.js';
import { storeCommand } from './store/store.js';
import { endWithReader, note } from './text/output.js';
import { printable, printableLines } from './text/printable.js';

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
    storeCommand(),
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
