import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Pipes } from './pipes.js';
import { hiddenOf, type Mask, maskText, openMask } from './secrets/mask.js';
import { writeAll } from './store/copy.js';

/** What a run prints: a pipe that its script writes into, and the file that the worker copies it to. */
export type RunLog = {
  /** File descriptor that the script gets as standard output and standard error. */
  readonly fd: number;
  /** The file, opened for reading and writing: a script that removes its name or puts another in its place changes nothing. */
  readonly file: FileHandle;
  /**
   * Copies what comes until `ended` aborts and the pipe is empty. Never writes more than `limit` bytes; what comes after is lost.
   * @param onExceeded called once, when there is more
   * @throws Error of the system if the file cannot be written
   */
  copy(ended: AbortSignal, limit: number, onExceeded: () => void): Promise<void>;
  /** Hides values from now on, in what is copied and said: wherever they stand there are three stars. */
  hide(values: readonly Uint8Array[]): void;
  /** A text without the values that are hidden. */
  masked(text: string): string;
  /** Writes a line of the worker's own behind all that was copied. */
  say(line: string): Promise<void>;
  close(): Promise<void>;
};

/** Most bytes that a pipe holds, unless it was made larger by a process with special rights. */
const pipeBytes = 1024 * 1024;

/** Longest pause between looks at a pipe that was empty, in milliseconds. */
const longestPause = 50;

/**
 * Opens the log of a run. The script gets a pipe, not the file, so that it can't write more than the limit, and neither truncate nor
 * remove what it wrote.
 * @throws Error of the system
 */
export async function openRunLog(path: string, pipe: string, pipes: Pipes): Promise<RunLog> {
  await pipes.put(pipe);
  const opened: FileHandle[] = [];
  try {
    // Reading waits for nothing; then opening to write finds a reader, and does not wait either.
    const reader = await open(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
    opened.push(reader);
    const writer = await open(pipe, constants.O_WRONLY);
    opened.push(writer);
    const file = await open(path, 'wx+');
    opened.push(file);
    return runLog(reader, writer, file);
  } catch (error) {
    for (const one of opened) await one.close();
    throw error;
  }
}

function runLog(reader: FileHandle, writer: FileHandle, file: FileHandle): RunLog {
  let size = 0;
  let mask: Mask | undefined;
  let masked = (text: string) => text;
  return {
    fd: writer.fd,
    file,
    hide(values) {
      const hidden = hiddenOf(values);
      if (hidden.length === 0) return;
      mask = openMask(hidden);
      masked = maskText(hidden);
    },
    masked: (text) => masked(text),
    async copy(ended, limit, onExceeded) {
      const buffer = Buffer.allocUnsafe(64 * 1024);
      let exceeded = false;
      let afterEnd = 0;
      const keep = async (bytes: Buffer) => {
        const piece = bytes.subarray(0, Math.min(bytes.length, limit - size));
        await writeAll(file, piece, size);
        size += piece.length;
        if (piece.length === bytes.length || exceeded) return;
        exceeded = true;
        onExceeded();
      };
      for (let pause = 1; ; ) {
        const last = ended.aborted;
        const bytesRead = await readNow(reader, buffer);
        if (bytesRead === 0) {
          if (last) {
            if (mask) await keep(mask.end());
            return;
          }
          await sleep(pause, undefined, { signal: ended }).catch(() => {});
          pause = Math.min(pause * 2, longestPause);
          continue;
        }
        pause = 1;
        const bytes = buffer.subarray(0, bytesRead);
        await keep(mask ? mask.push(bytes) : bytes);
        // A process that got away from the script's group may write for ever; what was in the pipe at the end is all that counts.
        if (last) afterEnd += bytesRead;
        if (afterEnd < pipeBytes) continue;
        if (mask) await keep(mask.end());
        return;
      }
    },
    async say(line) {
      const before = size === 0 ? '' : (await lastByte(file, size)) === 0x0a ? '' : '\n';
      const bytes = Buffer.from(`${before}${masked(line)}\n`);
      await writeAll(file, bytes, size);
      size += bytes.length;
    },
    async close() {
      await reader.close();
      await writer.close();
      await file.close();
    },
  };
}

async function lastByte(file: FileHandle, size: number): Promise<number | undefined> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(1), 0, 1, size - 1);
  return bytesRead === 1 ? buffer[0] : undefined;
}

/** What the pipe holds at this moment; 0 if nothing. */
async function readNow(reader: FileHandle, buffer: Buffer): Promise<number> {
  try {
    return (await reader.read(buffer, 0, buffer.length, null)).bytesRead;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return 0;
    throw error;
  }
}
