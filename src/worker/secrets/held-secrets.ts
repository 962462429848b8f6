import { execFile } from 'node:child_process';
import { open, readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { parse } from 'smol-toml';
import * as z from 'zod';
import { invalid, type MemoirError, quote } from '../../domain/errors.js';
import { repositoryGlobs } from '../../domain/repositories/repository-glob.js';
import {
  type GrantedSecret,
  grantLimits,
  isGrantId,
  isPrincipalGlob,
  isSecretName,
} from '../../domain/secrets/grants.js';

/** Most bytes of a secret. */
export const mostSecretBytes = 64 * 1024;

/** How long a command may take that prints a secret, in milliseconds. */
const longestCommand = 30_000;

/** A secret that the worker has. What it says is read anew for every run. */
export type HeldSecret = GrantedSecret & {
  /** @throws Error that tells nothing of it */
  read(signal: AbortSignal): Promise<Buffer>;
};

const globs = (what: string, isGlob: (text: string) => boolean) =>
  z
    .array(z.string().min(1).max(grantLimits.glob).refine(isGlob, `give ${what}`))
    .min(1)
    .max(grantLimits.globs);

const entry = z
  .strictObject({
    name: z.string().refine(isSecretName, 'give up to 64 letters, digits and "_", without a digit first'),
    grant: z.string().refine(isGrantId, 'give up to 64 letters, digits, "_", "-" and "."'),
    repositories: globs('globs of repositories', (glob) => repositoryGlobs([glob]) !== undefined),
    principals: globs('globs of principals', isPrincipalGlob),
    /** The secret itself. */
    value: z.string().min(1).optional(),
    /** A file that has it. */
    file: z.string().min(1).optional(),
    /** A command that prints it, with its arguments; a line feed at the end is not part of it. */
    command: z.array(z.string()).min(1).optional(),
  })
  .refine(
    ({ value, file, command }) => [value, file, command].filter((one) => one !== undefined).length === 1,
    'give one of value, file and command',
  );

const secretsFile = z.strictObject({ secret: z.array(entry).max(grantLimits.secrets) });

/**
 * The secrets that a file names: TOML with a table `[[secret]]` for each, or JSON of the same if its name ends so. No message tells what is in it but names.
 * @throws MemoirError INVALID_ARGUMENT BAD_OPTIONS
 */
export async function readSecretsFile(path: string): Promise<readonly HeldSecret[]> {
  const wrong = (why: string): MemoirError => invalid('secrets', 'BAD_OPTIONS', `--secrets ${quote(path)}: ${why}`);
  const { text, mode } = await readWithMode(path).catch((error: NodeJS.ErrnoException) => {
    throw wrong(`it cannot be read (${error.code})`);
  });
  const result = secretsFile.safeParse(parsed(path, text, wrong));
  if (!result.success) {
    const [issue] = result.error.issues;
    throw wrong(`${issue?.path.map(String).join('.') ?? ''}: ${issue?.message ?? 'it is not understood'}`);
  }
  const { secret: entries } = result.data;
  if (entries.some(({ value }) => value !== undefined) && (mode & 0o077) !== 0) {
    throw wrong('it has secrets in it and may be read or written by others than its owner; run "chmod 600" on it');
  }
  const seen = new Set<string>();
  return entries.map(({ value, file, command, ...granted }) => {
    const { name, grant } = granted;
    if (seen.has(`${name}@${grant}`)) throw wrong(`${name}@${grant} is there twice`);
    seen.add(`${name}@${grant}`);
    if (value !== undefined) return { ...granted, read: async () => Buffer.from(value) };
    if (file !== undefined) return { ...granted, read: () => bytesOf(resolve(dirname(path), file)) };
    return { ...granted, read: (signal) => printedBy(command as string[], signal) };
  });
}

function parsed(path: string, text: string, wrong: (why: string) => MemoirError): unknown {
  try {
    return path.endsWith('.json') ? JSON.parse(text) : parse(text);
  } catch (error) {
    // What parsers say quotes the text.
    const { line } = error as { readonly line?: number };
    throw wrong(`it cannot be parsed${line === undefined ? '' : `, at line ${line}`}`);
  }
}

async function readWithMode(path: string): Promise<{ readonly text: string; readonly mode: number }> {
  const file = await open(path);
  try {
    return { text: await file.readFile('utf8'), mode: (await file.stat()).mode };
  } finally {
    await file.close();
  }
}

async function bytesOf(file: string): Promise<Buffer> {
  const bytes = await readFile(file);
  if (bytes.length > mostSecretBytes) throw new Error(`it has more than ${mostSecretBytes} bytes`);
  return bytes;
}

function printedBy([program = '', ...args]: readonly string[], signal: AbortSignal): Promise<Buffer> {
  const options = { encoding: 'buffer', timeout: longestCommand, maxBuffer: mostSecretBytes + 1, signal } as const;
  return new Promise((resolve, reject) => {
    const child = execFile(program, args, options, (error, stdout) => {
      if (error)
        return reject(
          new Error(`the command that prints it failed (${error.code ?? error.signal ?? 'it took too long'})`),
        );
      resolve(stdout.at(-1) === 0x0a ? stdout.subarray(0, -1) : stdout);
    });
    child.stdin?.end();
  });
}
