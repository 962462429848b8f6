import { MemoirError, quote } from '../../domain/errors.js';

/** The error for an output that cannot be stored for a reason that lies in it. */
export function unstorable(message: string): MemoirError {
  return new MemoirError('FAILED_PRECONDITION', 'UNSTORABLE_OUTPUT', message);
}

/** The text of bytes. @throws MemoirError UNSTORABLE_OUTPUT if they are not UTF-8, naming them and where they stand */
export function utf8(bytes: Buffer, where: string): string {
  const text = bytes.toString('utf8');
  if (Buffer.from(text, 'utf8').equals(bytes)) return text;
  throw unstorable(`the name ${quote(text)} in the output directory, under ${quote(where)}, is not UTF-8`);
}

/** Codes of the system by which a script's files are at fault, not the place that they are on. */
const fileFaults = [
  'EACCES',
  'EPERM',
  'ENOENT',
  'ENOTDIR',
  'EISDIR',
  'ELOOP',
  'ENAMETOOLONG',
  'ENXIO',
  'ENODEV',
  'EINVAL',
];

/**
 * Reads something of a script's output.
 * @throws MemoirError UNSTORABLE_OUTPUT naming the path if the file is at fault; the error of the system if the disk is
 */
export async function reading<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined || !fileFaults.includes(code)) throw error;
    throw unstorable(`${quote(path)} in the output directory cannot be read (${code})`);
  }
}
