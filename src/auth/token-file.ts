import { hash, randomBytes } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import * as z from 'zod';
import { isPrincipal, isReserved, principalBy, type Template } from '../domain/callers/principal.js';
import { messageOf, quote } from '../domain/errors.js';
import { type OpenAside, writtenAside } from '../files/durable-file.js';

/** What tokens of a file begin with, so that they are known where they should not be. */
export const tokenPrefix = 'memoir_';

/** Random bytes of a token. */
const tokenBytes = 32;

const time = z.iso.datetime().refine((text) => !Number.isNaN(Date.parse(text)));

const record = z.strictObject({
  /** The first 12 digits of the SHA-256. */
  id: z.string().regex(/^[0-9a-f]{12}$/),
  /** The name that the principal is made of. */
  name: z.string().min(1).max(256),
  /** SHA-256 of the token, in hexadecimal digits. */
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  created_at: time,
  expires_at: time,
  /** When it was taken back; absent if it was not. */
  revoked_at: time.optional(),
});

const file = z.strictObject({ tokens: z.array(record) });

/** A token as its file has it: everything but the secret. */
export type TokenRecord = z.output<typeof record>;

/** SHA-256 of a token, in hexadecimal digits. */
export const tokenDigest = (token: string): string => hash('sha256', token, 'hex');

/** The tokens of a file. @throws Error naming the file, and what is wrong with it */
export function readTokens(path: string): readonly TokenRecord[] {
  try {
    const { tokens } = file.parse(JSON.parse(readFileSync(path, 'utf8')));
    const wrong = tokens.find(({ id, sha256 }) => !sha256.startsWith(id));
    if (wrong) throw new Error(`the token ${quote(wrong.id)} is not that of its SHA-256`);
    return tokens;
  } catch (error) {
    const why = error instanceof z.ZodError ? z.prettifyError(error) : messageOf(error);
    throw new Error(`the file of tokens ${quote(path)} cannot be used: ${why}`, { cause: error });
  }
}

/**
 * Whether a file of secrets is open to others than this process: what it owns, to anybody else; what somebody else lets it read by a group, as where
 * Kubernetes mounts a Secret, to more than the group.
 */
export function openToOthers(path: string): boolean {
  const { mode, uid } = statSync(path);
  return (mode & (uid === process.geteuid?.() ? 0o077 : 0o007)) !== 0;
}

/**
 * Makes a token and adds what is kept of it to a file, which is made if it is not there.
 * @returns the token, which nobody can have again, and what is kept
 * @throws Error naming the file or the name that cannot be used
 */
export async function makeToken(
  path: string,
  name: string,
  { now, lifetimeMs }: { readonly now: number; readonly lifetimeMs: number },
): Promise<{ readonly token: string; readonly made: TokenRecord }> {
  if (!isPrincipal(name)) throw new Error(`${quote(name)} is not 1 to 256 printable ASCII characters without spaces`);
  const token = `${tokenPrefix}${randomBytes(tokenBytes).toString('base64url')}`;
  const sha256 = tokenDigest(token);
  const made: TokenRecord = {
    id: sha256.slice(0, 12),
    name,
    sha256,
    created_at: new Date(now).toISOString(),
    expires_at: new Date(now + lifetimeMs).toISOString(),
  };
  await change(path, () => [...(existsSync(path) ? readTokens(path) : []), made]);
  return { token, made };
}

/**
 * Takes tokens back: the one of an id, or all of a name.
 * @returns those that were taken back now
 * @throws Error naming the file that cannot be used
 */
export async function revokeTokens(
  path: string,
  which: (record: TokenRecord) => boolean,
  now: number,
): Promise<readonly TokenRecord[]> {
  let revoked: readonly TokenRecord[] = [];
  const at = new Date(now).toISOString();
  await change(path, () => {
    const before = readTokens(path);
    revoked = before.filter((one) => which(one) && one.revoked_at === undefined);
    return before.map((one) => (revoked.includes(one) ? { ...one, revoked_at: at } : one));
  });
  return revoked;
}

/** The principal of a token. @throws Error if it can be none */
export function principalOfToken(template: Template, { id, name }: TokenRecord): string {
  const principal = principalBy(template, name);
  if (isPrincipal(principal) && !isReserved(principal)) return principal;
  throw new Error(`the token ${quote(id)} would be of ${quote(principal)}, which can be no principal`);
}

/** How often a file that somebody else changes is looked at again, and after which pause in milliseconds. */
const looks = 30;
const betweenLooks = 100;

/** Writes what a file becomes, while nobody else changes it. */
async function change(path: string, made: () => readonly TokenRecord[]): Promise<void> {
  // The file aside is the lock: a second one cannot be made.
  const lock = `${path}.lock`;
  for (let left = looks; ; left--) {
    try {
      return await writtenAside({ aside: lock, mode: 0o600 }, (aside) => replaced(path, aside, made()));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      if (left === 0) {
        const why = 'another process changes it, or was killed while it did: if none does, remove that';
        throw new Error(`the file of tokens ${quote(path)} is locked by ${quote(lock)}: ${why}`, { cause: error });
      }
      await delay(betweenLooks);
    }
  }
}

async function replaced(path: string, { file, replace }: OpenAside, tokens: readonly TokenRecord[]): Promise<void> {
  await file.writeFile(`${JSON.stringify({ tokens }, undefined, 2)}\n`);
  // Whoever else may change it, as root may, leaves it to the server that reads it.
  const before = statSync(path, { throwIfNoEntry: false });
  if (before && process.geteuid?.() === 0) await file.chown(before.uid, before.gid);
  await replace(path);
}
