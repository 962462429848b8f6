import { type ChildProcess, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { quote } from '../domain/errors.js';
import { PlaceFault, RunFailure, workPlace } from './run-failure.js';

/** What to run. */
export type Program = {
  readonly path: string;
  readonly args: readonly string[];
  readonly directory: string;
  readonly environment: Readonly<Record<string, string>>;
  /** File descriptor of standard input. */
  readonly stdin: number;
  /** File descriptor of standard output and standard error. */
  readonly output: number;
  /** Told the number of the process when it runs. */
  readonly onStart: (pid: number) => void;
  /** Given what the program writes to file descriptor 3; without it there is none. */
  readonly onPipe?: (pipe: Readable) => void;
  /** What the program reads from file descriptor 4, with `onPipe`. */
  readonly feed?: string;
  /** Tells it to end; without it, its group gets SIGTERM. */
  readonly terminate?: () => Promise<void>;
};

/** How a program ended: one of the two is null. */
export type Ended = { readonly code: number | null; readonly signal: NodeJS.Signals | null };

/**
 * Runs a program as the leader of a process group of its own, without a shell, until it ends. When the signal aborts, the group
 * gets SIGTERM, and SIGKILL after `graceMs` milliseconds. Whatever of the group outlives the leader gets SIGKILL.
 * @throws RunFailure SCRIPT_NOT_EXECUTABLE if the system refuses to run it, PLACE_FAULT if it cannot run anything now
 */
export function runInGroup(program: Program, signal: AbortSignal, graceMs: number): Promise<Ended> {
  return new Promise((resolve, reject) => {
    let child: ChildProcess;
    try {
      child = spawn(program.path, program.args, {
        cwd: program.directory,
        env: program.environment,
        detached: true,
        shell: false,
        stdio: [program.stdin, program.output, program.output, ...(program.onPipe ? (['pipe', 'pipe'] as const) : [])],
      });
    } catch (error) {
      reject(refusal(program.path, error as NodeJS.ErrnoException));
      return;
    }
    try {
      if (child.pid !== undefined) program.onStart(child.pid);
      program.onPipe?.(child.stdio[3] as Readable);
      // A program that has ended reads no more.
      (child.stdio[4] as Writable | undefined)?.on('error', () => {}).end(program.feed ?? '');
    } catch (error) {
      signalGroup(child.pid, 'SIGKILL');
      reject(error);
      return;
    }
    let killer: NodeJS.Timeout | undefined;
    const terminate = () => {
      if (program.terminate) void program.terminate();
      else signalGroup(child.pid, 'SIGTERM');
      killer = setTimeout(() => signalGroup(child.pid, 'SIGKILL'), graceMs);
    };
    const ended = () => {
      signal.removeEventListener('abort', terminate);
      clearTimeout(killer);
      signalGroup(child.pid, 'SIGKILL');
    };
    child.once('error', (error: NodeJS.ErrnoException) => {
      ended();
      reject(refusal(program.path, error));
    });
    child.once('exit', (code, killedBy) => {
      ended();
      resolve({ code, signal: killedBy });
    });
    if (signal.aborted) terminate();
    else signal.addEventListener('abort', terminate, { once: true });
  });
}

function signalGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch (error) {
    // The group is empty, or all that is left of it may not be signalled.
    if (!['ESRCH', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
}

/** Codes of a system that has too little of something to start any process. */
const exhausted = ['EAGAIN', 'ENOMEM', 'EMFILE', 'ENFILE', 'ENOSPC', 'EDQUOT', 'EIO'];

function refusal(path: string, error: NodeJS.ErrnoException): RunFailure {
  const { code = '' } = error;
  if (exhausted.includes(code)) {
    return new PlaceFault(workPlace, `the worker's system cannot start a process now (${code})`, error);
  }
  const why =
    code === 'ENOENT'
      ? 'the interpreter that its first line names does not exist here'
      : code === 'EACCES'
        ? 'the interpreter that its first line names may not be run here'
        : `the system refuses it (${code})`;
  return new RunFailure(
    'SCRIPT_NOT_EXECUTABLE',
    `${quote(path.slice(path.lastIndexOf('/') + 1))} cannot be run: ${why}`,
  );
}
