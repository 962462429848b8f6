import { spawn } from 'node:child_process';
import { constants as fileConstants } from 'node:fs';
import { access } from 'node:fs/promises';
import { constants } from 'node:os';
import { delimiter, join } from 'node:path';

/** Programs that wait for orphans also where they are not process 1, if told by "-s": tini, and the one that Docker brings. */
const inits = ['tini', 'docker-init'];

/** Signals that the child gets too. */
const passedOn: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'];

/**
 * Where this process is process 1, as in a container without an init, runs the same command again below an init, if there is one, and
 * ends as it ends. What scripts leave behind becomes a child of process 1, and stays a zombie unless that waits for it, which Node.js
 * does for processes of its own only.
 * @param onNone told that there is no init
 * @returns whether the command was run
 */
export async function runBelowInit(onNone: (message: string) => void): Promise<boolean> {
  if (process.pid !== 1) return false;
  const init = await findInit();
  if (init === undefined) {
    onNone(
      'warning: this is process 1 and there is no tini: processes that scripts leave behind stay as zombies. Start the container ' +
        'with an init (docker run --init), or put tini into the image.',
    );
    return false;
  }
  const child = spawn(init, ['-s', '--', process.execPath, ...process.execArgv, ...process.argv.slice(1)], {
    stdio: 'inherit',
  });
  for (const signal of passedOn) process.on(signal, () => child.kill(signal));
  process.exitCode = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)));
  });
  return true;
}

async function findInit(): Promise<string | undefined> {
  for (const name of inits) {
    for (const directory of (process.env.PATH ?? '').split(delimiter)) {
      const path = join(directory, name);
      const found = await access(path, fileConstants.X_OK).then(
        () => true,
        () => false,
      );
      if (directory !== '' && found) return path;
    }
  }
  return undefined;
}
