import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { startChild } from './child-server.js';

/** A server that keeps bytes, in a process of its own. */
export type Server = { readonly port: number; readonly pid: number | undefined; stop(): Promise<void> };

/** Starts a module of this folder; see `startChild`. */
export async function startOurs(name: string, argument: string): Promise<Server> {
  const { port, child, stop } = await startChild(name, argument);
  return { port, pid: child.pid, stop };
}

/** Starts buildbox-casd, which keeps what it is given in a directory. */
export async function startCasd(program: string, directory: string): Promise<Server> {
  const port = await new Promise<number>((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const found = (probe.address() as { port: number }).port;
      probe.close(() => resolve(found));
    });
  });
  const args = [`--bind=127.0.0.1:${port}`, '--reserved=1M', '--log-level=info', directory];
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  await new Promise<void>((resolve, reject) => {
    child.stderr?.on('data', (text: Buffer) => text.includes('Server listening') && resolve());
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`${program} ended with ${code}`)));
  });
  return {
    port,
    pid: child.pid,
    async stop() {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill();
      await ended;
    },
  };
}

/** Resident memory of a process in MiB (proc(5)). */
export function memoryOf(pid: number | undefined): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(proc(pid, 'status'))?.[1] ?? Number.NaN) / 1024;
}

/** Processor time that all threads of a process took so far, in seconds: fields 14 and 15 of its stat, which are hundredths (proc(5)). */
export function processorOf(pid: number | undefined): number {
  const fields = proc(pid, 'stat').split(') ').at(-1)?.split(' ') ?? [];
  return (Number(fields[11] ?? Number.NaN) + Number(fields[12] ?? Number.NaN)) / 100;
}

function proc(pid: number | undefined, what: string): string {
  return process.platform === 'linux' && pid ? readFileSync(`/proc/${pid}/${what}`, 'utf8') : '';
}
