import { spawn } from 'node:child_process';

/** What a command printed and how it ended. */
export type CommandEnd = {
  /** Null if a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  /** The end of it. */
  readonly stderr: string;
};

/** How a command is run. */
export type CommandOptions = {
  /** Ends it. */
  readonly signal?: AbortSignal;
  /** Is told each line that it prints as an error while it goes on. */
  readonly onLine?: (line: string) => void;
};

/** Most of what a command prints that is kept, in characters. */
const longest = 1024 * 1024;

/**
 * Runs a command without a shell, with the environment of this process.
 * @throws Error of the system if it cannot be run, or the signal's reason
 */
export function runCommand(
  program: string,
  args: readonly string[],
  { signal, onLine }: CommandOptions = {},
): Promise<CommandEnd> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    // A terminal's signals are the worker's, which ends its commands in good order.
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    let [stdout, stderr, line] = ['', '', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (stdout.length < longest) stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(-longest);
      if (!onLine) return;
      const lines = (line + text).split(/[\r\n]+/);
      line = (lines.pop() ?? '').slice(-longest);
      for (const one of lines) if (one.trim() !== '') onLine(one.trim());
    });
    const abort = () => child.kill('SIGKILL');
    signal?.addEventListener('abort', abort, { once: true });
    const done = (settle: () => void) => {
      signal?.removeEventListener('abort', abort);
      if (signal?.aborted) reject(signal.reason);
      else settle();
    };
    child.once('error', (error) => done(() => reject(error)));
    child.once('close', (code) => done(() => resolve({ code, stdout, stderr })));
  });
}

/** What a command said as an error, on one line and not too long. */
export function complaint({ stderr, code }: CommandEnd): string {
  const text = stderr.trim().replaceAll(/\s*\n\s*/g, '; ');
  if (text === '') return `it ended with code ${code}`;
  return text.length > 1_000 ? `…${text.slice(-1_000)}` : text;
}
