import { open, realpath, stat } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { quote } from '../domain/errors.js';
import { isNoexec } from './places.js';
import { PlaceFault, RunFailure, workPlace } from './run-failure.js';

/**
 * The path of a job's script in the checked out tree: an executable file that is in the tree, also after following symbolic
 * links.
 * @throws RunFailure SCRIPT_NOT_FOUND, SCRIPT_OUTSIDE_TREE or SCRIPT_NOT_EXECUTABLE, naming the script; PlaceFault
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
  if ((found.mode & 0o111) === 0) {
    throw new RunFailure(
      'SCRIPT_NOT_EXECUTABLE',
      `${named} is not marked as executable; run "git update-index --chmod=+x -- PATH" on it and commit that`,
    );
  }
  if (await isNoexec(real)) throw new PlaceFault(workPlace, 'no program may be run from there (noexec)');
  const head = await beginOf(real);
  if (isInterpretedWithCr(head)) {
    throw new RunFailure(
      'SCRIPT_NOT_EXECUTABLE',
      `the first line of ${named} ends with a carriage return, which the system takes for a part of the interpreter's name; ` +
        'commit it with line feeds alone ("*.sh text eol=lf" in .gitattributes)',
    );
  }
  if (!begins.some((begin) => head.subarray(0, begin.length).equals(begin))) {
    throw new RunFailure(
      'SCRIPT_NOT_EXECUTABLE',
      `${named} begins neither with "#!" and an interpreter nor is it a compiled program`,
    );
  }
  return path;
}

/** Begins of files that the system itself can run: of interpreters, ELF, and Mach-O in its three forms. */
const begins = ['2321', '7f454c46', 'cffaedfe', 'cefaedfe', 'cafebabe'].map((hex) => Buffer.from(hex, 'hex'));

/** The first bytes of a file, as many as the system looks at. Starting what it does not run itself would hand it to a shell, as execvp(3) does. */
async function beginOf(path: string): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(256), 0, 256, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/** Whether the interpreter's name ends with a carriage return, also that of "#!/usr/bin/env NAME". Arguments are the interpreter's. */
function isInterpretedWithCr(head: Buffer): boolean {
  const [line = ''] = head.toString('latin1').split('\n');
  return /^#![ \t]*[^ \t]+\r$/.test(line) || /^#![ \t]*[^ \t]*\/env[ \t].*\r$/.test(line);
}
