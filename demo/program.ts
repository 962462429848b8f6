import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const memoir = fileURLToPath(new URL('../src/cli/main.js', import.meta.url));

/** A `memoir` process. */
export type Program = {
  /** Standard output so far. */
  output(): string;
  /** Resolves with the match when standard output matches. Rejects if the process ends before, with what it said. */
  says(pattern: RegExp): Promise<RegExpExecArray>;
  /** Resolves with the exit code, 128 for a process that was killed. */
  ended(): Promise<number>;
  /** Asks the process to end and waits for it, unless it has ended. */
  stop(): Promise<number>;
};

/** Starts `memoir` with arguments and without any MEMOIR_ variable of this process. */
export function startMemoir(args: readonly string[]): Program {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('MEMOIR_')));
  const child: ChildProcess = spawn(process.execPath, [memoir, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let errors = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  const end = once(child, 'close').then(([code]) => (code as number | null) ?? 128);

  async function says(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(output);
      if (match) return match;
      const more = child.stdout ? once(child.stdout, 'data').then(() => undefined) : undefined;
      const code = await Promise.race([more, end]);
      if (code !== undefined && !pattern.test(output)) {
        throw new Error(`memoir ${args.join(' ')} ended with exit code ${code}:\n${output}${errors}`);
      }
    }
  }

  return {
    output: () => output,
    says,
    ended: () => end,
    async stop() {
      child.kill('SIGTERM');
      return end;
    },
  };
}
