import { readFileSync, rmSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { invalid, messageOf, quote } from '../../domain/errors.js';
import { replaceDurably } from '../../files/durable-file.js';
import { makeDirectory } from '../../make-directory.js';

/** The profile that counts where neither a server nor a profile is named. */
export const usualProfile = 'default';

/** A login at an issuer: what its next token is asked for by. */
export type Login = {
  readonly issuer: string;
  readonly client_id: string;
  readonly scope: string;
  /** What else the issuer is told, such as what tokens are to be for: `resource` (RFC 8707), `audience`. */
  readonly parameters: Readonly<Record<string, string>>;
  /** Absent where the issuer gives none: the login ends with its token. */
  readonly refresh_token?: string;
  /** When the token ends, and when the next one is asked for, as ISO 8601 has times; absent where the issuer does not say. */
  readonly expires_at?: string;
  readonly renew_at?: string;
};

/** What `memoir login` keeps of a server. */
export type Profile = {
  /** As --server has it. */
  readonly server: string;
  /** PEM of the authorities of its certificate. */
  readonly ca?: string;
  readonly token?: string;
  /** Where the token is from an issuer. */
  readonly login?: Login;
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
  const { server, ca = '', token = '', login } = value as Readonly<Record<keyof Profile, unknown>>;
  return allText([server, ca, token]) && (login === undefined || isLogin(login));
}

function isLogin(value: unknown): value is Login {
  if (typeof value !== 'object' || value === null) return false;
  const { issuer, client_id, scope, parameters, ...more } = value as Readonly<Record<keyof Login, unknown>>;
  if (typeof parameters !== 'object' || parameters === null) return false;
  const { refresh_token = '', expires_at = '', renew_at = '' } = more;
  return allText([issuer, client_id, scope, refresh_token, expires_at, renew_at, ...Object.values(parameters)]);
}

const allText = (values: readonly unknown[]): boolean => values.every((value) => typeof value === 'string');

/** File that whoever renews the token of a profile has for itself meanwhile. */
export function lockOf(name: string, environment: Environment): string {
  const { directory } = pathOf(name, environment);
  return join(directory, `.${name}.lock`);
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
