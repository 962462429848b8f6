import { type Surroundings, startMemoir } from '../../demo/program.js';
import { runCommand } from '../../src/cli/command.js';

/** What a finished command said. */
export type Said = { readonly code: number; readonly out: string; readonly err: string };

/** Commands that go on until a signal ends them. */
const goesOn: ReadonlySet<string> = new Set(['serve', 'worker']);

let turn: Promise<unknown> = Promise.resolve();

/**
 * Runs a command of `memoir` to its end: in this process, which has loaded it once, one command at a time with an environment, outputs
 * and an exit code of its own; in a process of its own where it reads standard input, or goes on until a signal ends it.
 */
export async function runMemoir(args: readonly string[], surroundings: Surroundings = {}): Promise<Said> {
  if (surroundings.input !== undefined || goesOn.has(args[0] ?? '')) return runProcess(args, surroundings);
  const said = turn.then(() => here(args, surroundings.env ?? {}));
  turn = said.catch(() => undefined);
  return said;
}

/** Runs a command to its end in a process of its own: one that streams to standard output, or is to be seen as users see it. */
export async function runProcess(args: readonly string[], surroundings: Surroundings = {}): Promise<Said> {
  const program = startMemoir(args, surroundings);
  return { code: await program.ended(), out: program.output(), err: program.errors() };
}

async function here(args: readonly string[], env: Readonly<Record<string, string>>): Promise<Said> {
  const { stdout, stderr } = process;
  const before = { env: process.env, out: stdout.write, err: stderr.write, code: process.exitCode };
  const said = { out: '', err: '' };
  const into = (name: 'out' | 'err') =>
    ((text: string | Uint8Array, ...rest: unknown[]) => {
      said[name] += typeof text === 'string' ? text : Buffer.from(text).toString();
      const written = rest.find((part) => typeof part === 'function') as (() => void) | undefined;
      if (written) setImmediate(written);
      return true;
    }) as typeof stdout.write;
  const own = Object.entries(before.env).filter(([name]) => !name.startsWith('MEMOIR_'));
  try {
    process.env = { ...Object.fromEntries(own), ...env };
    process.exitCode = undefined;
    stdout.write = into('out');
    stderr.write = into('err');
    await runCommand(args);
    return { code: Number(process.exitCode ?? 0), ...said };
  } finally {
    stdout.write = before.out;
    stderr.write = before.err;
    process.exitCode = before.code;
    process.env = before.env;
  }
}
