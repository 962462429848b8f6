import { type FileHandle, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { invalid, quote } from '../../domain/errors.js';
import { makeDirectory } from '../../make-directory.js';

/** An export that can be read more than once. */
export type ExportFile = {
  /** What messages call it. */
  readonly name: string;
  /** Its bytes from the beginning, of the same file every time whatever becomes of its name. */
  bytes(): AsyncIterable<Buffer>;
  close(): Promise<void>;
};

/** Where an export is put that can be read only once. */
export type Spool = {
  /** Directory for it, made if there is none. */
  readonly directory: string;
  /** Text that no other spool uses at the same time. */
  readonly unique: string;
};

/** Bytes that are read at once. */
const chunkSize = 256 * 1024;

/**
 * Opens an export at a path, or takes all of a stream. What is no regular file is copied first, into a file without a name.
 * @throws MemoirError INVALID_ARGUMENT if it cannot be opened or copied
 */
export async function openExport(from: string | AsyncIterable<Uint8Array>, spool: Spool): Promise<ExportFile> {
  if (typeof from !== 'string') return exportFile('standard input', await copied('standard input', from, spool));
  const name = quote(from);
  const file = await open(from, 'r').catch((error) => {
    throw invalid('file', 'CANNOT_READ', `${name} cannot be read: ${(error as Error).message}`);
  });
  try {
    const found = await file.stat();
    if (found.isDirectory()) throw invalid('file', 'CANNOT_READ', `${name} is a directory`);
    if (found.isFile()) return exportFile(name, file);
    return exportFile(name, await copied(name, file.createReadStream(), spool));
  } catch (error) {
    await file.close();
    throw error;
  }
}

function exportFile(name: string, file: FileHandle): ExportFile {
  return {
    name,
    bytes: () => bytesOf(file),
    close: () => file.close(),
  };
}

/** Not by a stream of the handle, which cannot be left early without closing the file. */
async function* bytesOf(file: FileHandle): AsyncGenerator<Buffer> {
  for (let position = 0; ; ) {
    const { bytesRead, buffer } = await file.read({ buffer: Buffer.allocUnsafe(chunkSize), position });
    if (bytesRead === 0) return;
    position += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

/** The system removes the copy when the file is closed, or the process ends, since it has no name any more. */
async function copied(
  name: string,
  from: AsyncIterable<Uint8Array>,
  { directory, unique }: Spool,
): Promise<FileHandle> {
  const path = join(directory, `.memoir-import-${unique}`);
  let file: FileHandle | undefined;
  try {
    makeDirectory(directory);
    file = await open(path, 'wx+', 0o600);
    await rm(path);
    for await (const chunk of from) await file.appendFile(chunk);
    return file;
  } catch (error) {
    await file?.close();
    const why = (error as Error).message;
    throw invalid('file', 'CANNOT_READ', `${name} cannot be copied to ${quote(directory)} to be read twice: ${why}`);
  }
}
