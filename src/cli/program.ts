import { Command } from 'commander';
import { serverVersion } from '../version.js';
import { auditCommand } from './audit/audit.js';
import { historyCommand } from './audit/history.js';
import { loginCommands } from './auth/login.js';
import { policyCommand } from './auth/policy.js';
import { tokenCommand } from './auth/token.js';
import { whoamiCommand } from './auth/whoami.js';
import { contentCommand, pinCommands } from './content/content.js';
import { outputCommand } from './content/output.js';
import { putCommand } from './content/put/put.js';
import { completeHelp } from './examples.js';
import { exitCodeHelp } from './exit-code.js';
import { imageCommand, imagesCommand } from './images/images.js';
import { checkCommand } from './jobs/check.js';
import { diffCommand } from './jobs/diff.js';
import { excludeCommand, exclusionsCommand, reinstateCommand } from './jobs/exclusions.js';
import { explainCommand } from './jobs/explain.js';
import { lineageCommand } from './jobs/lineage.js';
import { logCommand } from './jobs/log.js';
import { getCommand, listCommand, queueCommand, watchCommand } from './jobs/read.js';
import { retryCommand } from './jobs/retry.js';
import { runCommand } from './jobs/run.js';
import { savingsCommand } from './jobs/savings.js';
import { cancelCommand, deleteCommand, updateCommand } from './jobs/steer.js';
import { submitCommand } from './jobs/submit.js';
import { exportCommand } from './log/export.js';
import { importCommand } from './log/import.js';
import { tailCommand } from './log/tail.js';
import { codeCommand } from './repositories/code.js';
import { rangeCommand, reposCommand, resolveCommand } from './repositories/repositories.js';
import { healthCommand } from './server/health.js';
import { serveCommand } from './server/serve.js';
import { workerCommand } from './server/worker.js';
import { storeCommand } from './store/store.js';
import { drainCommand, pauseCommands, undrainCommand, workersCommand } from './workers/workers.js';

/** The `memoir` command with all that is under it. */
export function program(): Command {
  const memoir = new Command('memoir')
    .description('A job service that never runs the same computation twice and can show why.')
    .version(serverVersion)
    .showSuggestionAfterError()
    .addHelpText('after', exitCodeHelp);
  const commands = [
    submitCommand(),
    runCommand(),
    explainCommand(),
    getCommand(),
    listCommand(),
    queueCommand(),
    watchCommand(),
    logCommand(),
    outputCommand(),
    putCommand(),
    contentCommand(),
    ...pinCommands(),
    historyCommand(),
    lineageCommand(),
    savingsCommand(),
    tailCommand(),
    cancelCommand(),
    updateCommand(),
    deleteCommand(),
    retryCommand(),
    checkCommand(),
    diffCommand(),
    reposCommand(),
    resolveCommand(),
    rangeCommand(),
    codeCommand(),
    imagesCommand(),
    imageCommand(),
    excludeCommand(),
    reinstateCommand(),
    exclusionsCommand(),
    auditCommand(),
    serveCommand(),
    healthCommand(),
    workerCommand(),
    workersCommand(),
    drainCommand(),
    undrainCommand(),
    ...pauseCommands(),
    storeCommand(),
    tokenCommand(),
    policyCommand(),
    whoamiCommand(),
    ...loginCommands(),
    exportCommand(),
    importCommand(),
  ];
  for (const command of [memoir, ...commands]) command.exitOverride();
  for (const command of commands) memoir.addCommand(command);
  completeHelp(memoir);
  return memoir;
}
