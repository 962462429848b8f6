import { spawn } from 'node:child_process';
import type { ServerConfig } from '../config.js';
import { messageOf, quote } from '../domain/errors.js';

/** How long a command may take that prints the key, in milliseconds. */
const usualTime = 30_000;

/** Most bytes that it may print; a key has about 120. */
const mostBytes = 16_384;

/** How much of what it says on standard error is told, in characters. */
const mostSaid = 500;

/**
 * The private key of checkpoints that the command of the settings prints, as PEM; undefined if they name none. The command is run without a shell and
 * without input. What it prints stands in no message.
 * @throws Error naming the setting, if the command cannot be run, fails, takes longer than `timeMs`, or prints too much; and if a file is named too
 */
export async function keyOfCommand(
  { checkpoint_key, checkpoint_key_command }: Pick<ServerConfig, 'checkpoint_key' | 'checkpoint_key_command'>,
  timeMs = usualTime,
): Promise<string | undefined> {
  if (checkpoint_key_command === undefined) return undefined;
  if (checkpoint_key !== undefined) throw new Error('give checkpoint_key or checkpoint_key_command, not both');
  const [command = '', ...args] = checkpoint_key_command;
  const fail = (why: string, cause?: unknown) =>
    new Error(`checkpoint_key_command ${quote(command)} ${why}`, { cause });

  // A process group of its own, so that what it started ends with it.
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  const end = () => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    } catch {
      // All of it has ended.
    }
    child.stdout.destroy();
    child.stderr.destroy();
  };
  const pieces: Buffer[] = [];
  let bytes = 0;
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(0, mostSaid);
  });
  let timer: NodeJS.Timeout | undefined;
  try {
    return await new Promise<string>((resolve, reject) => {
      timer = setTimeout(() => reject(fail(`did not end within ${timeMs / 1_000} s`)), timeMs);
      child.stdout.on('data', (piece: Buffer) => {
        bytes += piece.length;
        pieces.push(piece);
        if (bytes > mostBytes) reject(fail(`prints more than ${mostBytes} bytes, which is no key`));
      });
      child.on('error', (error) => reject(fail(`cannot be run: ${messageOf(error)}`, error)));
      child.on('close', (code, signal) => {
        if (code === 0) resolve(Buffer.concat(pieces).toString('latin1'));
        else {
          const how = signal ? `was ended by ${signal}` : `ended with ${code}`;
          reject(fail(said.trim() === '' ? how : `${how}: ${quote(said.trim(), mostSaid)}`));
        }
      });
    });
  } finally {
    clearTimeout(timer);
    end();
  }
}
