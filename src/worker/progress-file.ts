import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import * as z from 'zod';

const count = z.int().min(0).max(0xffff_ffff).default(0);

const report = z.object({
  progress: z.number().min(0).max(1).optional(),
  message: z.string().optional(),
  tasks: z.object({ todo: count, running: count, done: count, failed: count }).optional(),
});

/** What a script says of how far it is. */
export type Progress = z.output<typeof report>;

/** How much of the file's end is looked at, in bytes. */
const window = 64 * 1024;

/** Longest message that a heartbeat takes, in bytes of UTF-8. */
const longestMessage = 4_096;

/**
 * The last whole report in a script's progress file, which is one JSON object or one on each line. Undefined if there is no file
 * or no report in it: a script that writes nonsense loses its progress, not its run. `masked` is what is told of a message.
 */
export async function readProgress(
  path: string,
  masked: (text: string) => string = (text) => text,
): Promise<Progress | undefined> {
  const text = await tail(path).catch(() => undefined);
  if (text === undefined) return undefined;
  const whole = parsed(text, masked);
  if (whole) return whole;
  const lines = text.split('\n');
  for (let i = lines.length - 1; i >= 0; i--) {
    const found = parsed(lines[i] ?? '', masked);
    if (found) return found;
  }
  return undefined;
}

function parsed(text: string, masked: (text: string) => string): Progress | undefined {
  try {
    const result = report.safeParse(JSON.parse(text));
    if (!result.success) return undefined;
    const { message, ...rest } = result.data;
    return message === undefined ? rest : { ...rest, message: cut(masked(message)) };
  } catch {
    return undefined;
  }
}

function cut(message: string): string {
  const bytes = Buffer.from(message);
  if (bytes.length <= longestMessage) return message.toWellFormed();
  return new TextDecoder().decode(bytes.subarray(0, longestMessage), { stream: true });
}

async function tail(path: string): Promise<string | undefined> {
  // The script owns the place: it may have put a pipe there, or a link to one.
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const found = await file.stat();
    if (!found.isFile()) return undefined;
    const length = Math.min(found.size, window);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, found.size - length);
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await file.close();
  }
}
