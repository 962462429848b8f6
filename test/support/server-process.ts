import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { ServerConfig } from '../../src/config.js';

/** A real server in a process of its own. */
export type ServerProcess = {
  readonly address: string;
  readonly pid: number;
  /** Ends it as kill -9 does; resolves when it is gone. */
  kill(): Promise<void>;
  /** Ends it by SIGTERM; resolves with its exit code, which is 0 if it ended in good order. */
  terminate(): Promise<number | null>;
};

/** Starts a server, whose clock is so many milliseconds ahead, and resolves when it answers calls. */
export async function startServerProcess(config: ServerConfig, ahead = 0): Promise<ServerProcess> {
  const script = fileURLToPath(new URL('./server-child.js', import.meta.url));
  const child = spawn(process.execPath, ['--enable-source-maps', script, JSON.stringify(config), String(ahead)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const gone = once(child, 'exit');
  const lines = createInterface({ input: child.stdout });
  const said = await Promise.race([once(lines, 'line'), gone.then(() => undefined)]);
  if (!said) throw new Error(`the server ended with code ${child.exitCode} before it answered calls`);
  const end = async (signal: NodeJS.Signals) => {
    child.kill(signal);
    await gone;
    return child.exitCode;
  };
  return {
    address: said[0] as string,
    pid: child.pid as number,
    async kill() {
      await end('SIGKILL');
    },
    terminate: () => end('SIGTERM'),
  };
}
