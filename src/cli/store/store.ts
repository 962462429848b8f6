import { Command } from 'commander';
import { remote } from '../options.js';
import type { StoreVerifyOptions } from './run-store-verify.js';

/** `memoir store`. */
export function storeCommand(): Command {
  const store = new Command('store').description('look after the outputs and logs that workers keep');
  const verify = new Command('verify')
    .description('hash everything in a store of outputs and logs, and say what is wrong or lost')
    .requiredOption('--store-dir <directory>', "a worker's --store-dir")
    .option('--jobs', "also look for the outputs and logs of the server's complete jobs")
    .option('--json', 'print what was found as JSON, one object a line')
    .addHelpText(
      'after',
      `
The exit code is 7 if anything is damaged, lost or missing. Nothing is changed. To heal a damaged content, remove its
file and run a job that makes it again (memoir submit --always-new), or put a good copy into its place.`,
    );
  const command = remote(verify).action(async (options: StoreVerifyOptions) => {
    const { runStoreVerify } = await import('./run-store-verify.js');
    await runStoreVerify(options);
  });
  for (const one of [store, command]) one.exitOverride();
  return store.addCommand(command);
}
