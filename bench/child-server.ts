import { type ChildProcess, fork } from 'node:child_process';

/** A server in a process of its own. */
export type ChildServer = {
  readonly port: number;
  /** Its process. */
  readonly child: ChildProcess;
  /** Ends it in an orderly way. */
  stop(): Promise<void>;
};

/** Starts the module `name` of this folder as a server; it sends its port and ends when its parent lets go of it. */
export async function startChild(name: string, ...args: string[]): Promise<ChildServer> {
  // As `memoir` is started: see src/cli/main.ts. The yardstick is started so as well.
  const child = fork(new URL(`./${name}.js`, import.meta.url), args, { execArgv: ['--max-semi-space-size=64'] });
  const port = await new Promise<number>((resolve, reject) => {
    child.once('message', (message) => resolve(message as number));
    child.once('exit', (code) => reject(new Error(`${name} exited with ${code} before it listened`)));
  });
  return {
    port,
    child,
    async stop() {
      if (child.exitCode !== null) return;
      const exited = new Promise((resolve) => child.once('exit', resolve));
      child.disconnect();
      await exited;
    },
  };
}
