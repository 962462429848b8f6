import { readFileSync, rmSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import * as z from 'zod';
import { invalid, messageOf, quote } from '../../domain/errors.js';
import { replaceDurably } from '../../files/durable-file.js';
import { makeDirectory } from '../../make-directory.js';

/** The profile that counts where neither a server nor a profile is named. */
export const usualProfile = 'default';

const schema = z.strictObject({
  /** As --server has it. */
  server: z.string().min(1),
  /** PEM of the authorities of its certificate. */
  ca: z.string().optional(),
  token: z.string().optional(),
});

/** What `memoir login` keeps of a server: its address, its authorities, and the token for it. */
export type Profile = z.output<typeof schema>;

type Environment = Readonly<Record<string, string | undefined>>;

function pathOf(name: string, { XDG_CONFIG_HOME: own }: Environment): { directory: string; path: string } {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(name)) {
    throw invalid('profile', 'BAD_PROFILE', `--profile ${quote(name)}: give letters, digits, ".", "_" and "-"`);
  }
  // As the XDG Base Directory Specification has it: a relative path counts as none.
  const config = own?.startsWith('/') ? own : join(homedir(), '.config');
  const directory = join(config, 'memoir');
  return { directory, path: join(directory, `${name}.json`) };
}

/**
 * A profile; undefined if there is none of the name.
 * @throws MemoirError INVALID_ARGUMENT naming its file: no profile, or open to others than its owner
 */
export function readProfile(name: string, environment: Environment): Profile | undefined {
  const { path } = pathOf(name, environment);
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found) return undefined;
  if ((found.mode & 0o077) !== 0) {
    throw invalid(
      'profile',
      'BAD_PROFILE',
      `the profile ${quote(path)} is open to others: give it the permissions 0600`,
    );
  }
  try {
    return schema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (error) {
    // Never with what the file holds.
    const why =
      error instanceof z.ZodError
        ? z.prettifyError(error)
        : error instanceof SyntaxError
          ? 'no JSON'
          : messageOf(error);
    throw invalid('profile', 'BAD_PROFILE', `the profile ${quote(path)} cannot be used: ${why}`);
  }
}

/** Keeps a profile for its owner alone. @returns its file */
export function keepProfile(name: string, profile: Profile, environment: Environment): string {
  const { directory, path } = pathOf(name, environment);
  makeDirectory(directory);
  replaceDurably(path, `${JSON.stringify(profile, undefined, 2)}\n`, { mode: 0o600 });
  return path;
}

/** Removes a profile. @returns whether there was one */
export function removeProfile(name: string, environment: Environment): boolean {
  const { path } = pathOf(name, environment);
  const there = statSync(path, { throwIfNoEntry: false }) !== undefined;
  rmSync(path, { force: true });
  return there;
}
