import { readFileSync, rmSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { invalid, messageOf, quote } from '../../domain/errors.js';
import { replaceDurably } from '../../files/durable-file.js';
import { makeDirectory } from '../../make-directory.js';

/** The profile that counts where neither a server nor a profile is named. */
export const usualProfile = 'default';

/** What `memoir login` keeps of a server. */
export type Profile = {
  /** As --server has it. */
  readonly server: string;
  /** PEM of the authorities of its certificate. */
  readonly ca?: string;
  readonly token?: string;
};

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
  let profile: unknown;
  try {
    profile = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    // Not with what the file holds, as the message of a SyntaxError is.
    const why = error instanceof SyntaxError ? 'it is no JSON' : messageOf(error);
    throw invalid('profile', 'BAD_PROFILE', `the profile ${quote(path)} cannot be used: ${why}`);
  }
  if (isProfile(profile)) return profile;
  throw invalid(
    'profile',
    'BAD_PROFILE',
    `the profile ${quote(path)} cannot be used: it is none that memoir login keeps`,
  );
}

// By hand, since every command reads it, and a library for this takes longer to load than all of that.
function isProfile(value: unknown): value is Profile {
  if (typeof value !== 'object' || value === null) return false;
  const { server, ca = '', token = '' } = value as Readonly<Record<keyof Profile, unknown>>;
  return typeof server === 'string' && typeof ca === 'string' && typeof token === 'string';
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
