import { constants } from 'node:fs';
import { access, open, realpath, stat } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { quote } from '../domain/errors.js';
import { RunFailure } from './run-failure.js';

/**
 * The path of a job's script in the checked out tree: an executable file that is in the tree, also after following symbolic
 * links.
 * @throws RunFailure SCRIPT_NOT_FOUND, SCRIPT_OUTSIDE_TREE or SCRIPT_NOT_EXECUTABLE, naming the script
 */
export async function findScript(tree: string, script: string, commit: string): Promise<string> {
  const named = `${quote(script)} in commit ${commit}`;
  const parts = script.split('/');
  if (script.includes('\0') || parts.some((part) => part === '' || part === '.' || part === '..')) {
    throw new RunFailure('SCRIPT_NOT_FOUND', `there is no ${named}: it is no path inside a tree`);
  }
  const path = join(tree, ...parts);
  let real: string;
  try {
    real = await realpath(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new RunFailure('SCRIPT_NOT_FOUND', `there is no ${named} (${code})`);
  }
  if (!real.startsWith((await realpath(tree)) + sep)) {
    throw new RunFailure('SCRIPT_OUTSIDE_TREE', `${named} is a symbolic link that leaves the tree`);
  }
  const found = await stat(real);
  if (!found.isFile()) {
    throw new RunFailure(
      'SCRIPT_NOT_EXECUTABLE',
      `${named} is a ${found.isDirectory() ? 'directory' : 'special file'}`,
    );
  }
  try {
    await access(real, constants.X_OK);
  } catch {
    throw new RunFailure(
      'SCRIPT_NOT_EXECUTABLE',
      `${named} is not marked as executable; run "git update-index --chmod=+x -- PATH" on it and commit that`,
    );
  }
  if (!(await isProgram(real))) {
    throw new RunFailure(
      'SCRIPT_NOT_EXECUTABLE',
      `${named} begins neither with "#!" and an interpreter nor is it a compiled program`,
    );
  }
  return path;
}

/** Begins of files that the system itself can run: of interpreters, ELF, and Mach-O in its three forms. */
const begins = ['2321', '7f454c46', 'cffaedfe', 'cefaedfe', 'cafebabe'].map((hex) => Buffer.from(hex, 'hex'));

/** Whether the system runs it itself. Starting anything else would hand it to a shell, as execvp(3) does. */
async function isProgram(path: string): Promise<boolean> {
  const file = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(4), 0, 4, 0);
    const head = buffer.subarray(0, bytesRead);
    return begins.some((begin) => head.subarray(0, begin.length).equals(begin));
  } finally {
    await file.close();
  }
}
