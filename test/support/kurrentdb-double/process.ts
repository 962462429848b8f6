import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** A double in a process of its own, for several servers. */
export type DoubleProcess = {
  readonly url: string;
  stop(): Promise<void>;
};

/** Starts a double of so many nodes. */
export async function startDoubleProcess(nodes = 1): Promise<DoubleProcess> {
  const script = fileURLToPath(new URL('./child.js', import.meta.url));
  const child = spawn(process.execPath, ['--enable-source-maps', script, String(nodes)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const gone = once(child, 'exit');
  const said = await Promise.race([once(createInterface({ input: child.stdout }), 'line'), gone.then(() => undefined)]);
  if (!said) throw new Error(`the double ended with code ${child.exitCode} before it listened`);
  return {
    url: said[0] as string,
    async stop() {
      child.kill();
      await gone;
    },
  };
}
