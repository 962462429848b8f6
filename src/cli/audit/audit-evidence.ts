import { readFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import { invalid, quote } from '../../domain/errors.js';
import { parseVerifierKey, type VerifierKey } from '../../domain/log-tree/verifier-key.js';
import type { Clients } from '../client.js';
import { repeated } from '../options.js';
import { note } from '../text/output.js';
import { printable } from '../text/printable.js';

/** What an auditor brings: the keys that he trusts. */
export type KeyOptions = { readonly key?: readonly string[] };

/** Adds `--key`. */
export function withKeys(command: Command): Command {
  return command.addOption(
    new Option('--key <key>', 'key of the log that is trusted, or a file that holds it (repeatable)')
      .env('MEMOIR_AUDIT_KEY')
      .argParser(repeated),
  );
}

/** The keys that were given. @throws MemoirError INVALID_ARGUMENT naming one that is none, or a file that cannot be read */
export function keysOf({ key = [] }: KeyOptions): VerifierKey[] {
  return key.map((text) => parseVerifierKey(/^[^+]+\+[0-9a-f]{8}\+/.test(text) ? text : readSmall(text).trim()));
}

/** The keys that were given, or else the server's own, which is said: it proves nothing against whoever has the server. */
export async function keysOrServers(options: KeyOptions, { audit, unary }: Clients): Promise<VerifierKey[]> {
  const given = keysOf(options);
  if (given.length > 0) return given;
  const { key } = await audit.getCheckpoint({}, unary);
  note(`no --key was given, so the server's own is trusted: ${printable(key)}`);
  return [parseVerifierKey(key)];
}

/** Most bytes of a file with a note or a key. */
const longest = 1024 * 1024;

/** The text of a small file, or of standard input for "-". @throws MemoirError INVALID_ARGUMENT naming it if it cannot be read */
export function readSmall(path: string): string {
  try {
    const text = readFileSync(path === '-' ? 0 : path, 'utf8');
    if (text.length <= longest) return text;
  } catch (error) {
    throw invalid('file', 'CANNOT_READ', `${quote(path)} cannot be read: ${(error as Error).message}`);
  }
  throw invalid('file', 'CANNOT_READ', `${quote(path)} is longer than ${longest} characters`);
}
