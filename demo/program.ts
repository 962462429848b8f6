import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const memoir = fileURLToPath(new URL('../src/cli/main.js', import.meta.url));

/** A `memoir` process. */
export type Program = {
  readonly pid: number;
  /** Standard output so far. */
  output(): string;
  /** Standard error so far. */
  errors(): string;
  /** Resolves with the match when standard output matches. Rejects if the process ends before, with what it said. */
  says(pattern: RegExp): Promise<RegExpExecArray>;
  /** Resolves with the exit code, 128 for a process that was killed. */
  ended(): Promise<number>;
  /** Sends a signal to the process, SIGTERM unless told, and waits for its end, unless it has ended. */
  stop(signal?: NodeJS.Signals): Promise<number>;
};

/** What a process gets beside its arguments. */
export type Surroundings = {
  /** Variables beside those of this process that are not Memoir's. */
  readonly env?: Readonly<Record<string, string>>;
  /** All of standard input; nothing unless given. */
  readonly input?: string;
};

/** The environment of this process without MEMOIR_ variables, such as those that tell the tests what there is, but for that on sandboxes. */
export function plainEnvironment(): Record<string, string | undefined> {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => name === 'MEMOIR_SANDBOX' || !name.startsWith('MEMOIR_')),
  );
}

/** Starts `memoir` with arguments and, but for its sandbox, without any MEMOIR_ variable of this process. */
export function startMemoir(args: readonly string[], { env = {}, input }: Surroundings = {}): Program {
  const child: ChildProcess = spawn(process.execPath, [memoir, ...args], {
    env: { ...plainEnvironment(), ...env },
    stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  });
  child.stdin?.end(input);
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
    pid: child.pid ?? 0,
    output: () => output,
    errors: () => errors,
    says,
    ended: () => end,
    async stop(signal = 'SIGTERM') {
      child.kill(signal);
      return end;
    },
  };
}
