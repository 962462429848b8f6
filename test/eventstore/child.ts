import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';

/** A process that appends, and what it said so far, line by line. */
export type Child = {
  readonly pid: number;
  readonly lines: string[];
  /** Resolves when a line so far or to come fulfils the condition; rejects if the process ends first. */
  line(condition: (line: string, index: number) => boolean, from?: number): Promise<string>;
  /** Kills the process as kill -9 does, and resolves when it is gone and all of its lines are there. */
  kill(): Promise<void>;
};

/** Starts `append-child` with its arguments; `shell` is a command of a shell that stands before it, such as `ulimit`. */
export function startChild(args: readonly string[], shell = ':'): Child {
  const script = fileURLToPath(new URL('./append-child.js', import.meta.url));
  const command = ['-c', `${shell}; exec "$0" "$@"`, process.execPath, '--enable-source-maps', script, ...args];
  const child = spawn('bash', command, { stdio: ['ignore', 'pipe', 'inherit'] }) as ChildProcessByStdio<
    null,
    Readable,
    null
  >;
  const lines: string[] = [];
  const news = new EventEmitter().setMaxListeners(0);
  let over = false;
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(line);
    news.emit('news');
  });
  const gone = new Promise<void>((resolve) => {
    child.once('close', () => {
      over = true;
      news.emit('news');
      resolve();
    });
  });
  return {
    pid: child.pid as number,
    lines,
    async line(condition, from = 0) {
      for (let i = from; ; i++) {
        while (i >= lines.length) {
          if (over) throw new Error(`the process ended after ${JSON.stringify(lines.slice(-5))}`);
          await once(news, 'news');
        }
        if (condition(lines[i] as string, i)) return lines[i] as string;
      }
    },
    async kill() {
      child.kill('SIGKILL');
      await gone;
    },
  };
}
