import { readFileSync, statSync } from 'node:fs';
import type { Logger } from 'pino';
import { parse } from 'smol-toml';
import { z } from 'zod';
import { type Access, accessOf, type Policy } from '../domain/access.js';
import { quote } from '../domain/errors.js';

/** How often the file is looked at for a change, in milliseconds. */
const interval = 1_000;

/** Principals whose access is kept. */
const remembered = 10_000;

const role = z.enum(['reader', 'submitter', 'worker', 'auditor', 'admin']);
const glob = z.string().regex(/^[A-Za-z0-9._/*?-]+$/, 'is no glob of letters, digits, ".", "_", "-", "/", "*" and "?"');
const schema = z.strictObject({
  groups: z.record(z.string().min(1), z.array(z.string().min(1))).default({}),
  grants: z
    .array(
      z.strictObject({
        to: z.array(z.string().min(1)).min(1),
        roles: z.array(role).min(1),
        repositories: z.array(glob).min(1),
      }),
    )
    .default([]),
});

/** The policy of a server. */
export type PolicyFile = {
  /** What a principal may do now. */
  accessOf(principal: string): Access;
  /** Ends the watch over the file. */
  close(): void;
};

/**
 * Reads the policy at `path`, a TOML file of `groups` and `grants`, and reads it again when it changes. A change that is no
 * policy is logged, and the policy before it goes on: an editor's half-written file must lock nobody out or in.
 * @throws Error naming the file and what is wrong in it, if it is no policy when the server starts
 */
export function openPolicyFile(path: string, logger: Logger): PolicyFile {
  let policy = readPolicy(path);
  let seen = fingerprint(path);
  let known = new Map<string, Access>();

  const timer = setInterval(() => {
    const now = fingerprint(path);
    if (now === seen) return;
    seen = now;
    try {
      policy = readPolicy(path);
      known = new Map();
      logger.info({ path }, 'the policy was read again');
    } catch (error) {
      logger.error({ path, err: error }, 'the changed policy cannot be used; the one before it goes on');
    }
  }, interval);
  timer.unref();

  return {
    accessOf(principal) {
      const before = known.get(principal);
      if (before) return before;
      if (known.size >= remembered) known.clear();
      const access = accessOf(policy, principal);
      known.set(principal, access);
      return access;
    },
    close: () => clearInterval(timer),
  };
}

/** The policy in a file. @throws Error naming the file, the place in it and what is wrong */
export function readPolicy(path: string): Policy {
  try {
    const policy = schema.parse(parse(readFileSync(path, 'utf8')));
    for (const { to } of policy.grants) {
      for (const whom of to) {
        const group = whom.startsWith('group:') ? whom.slice('group:'.length) : undefined;
        if (group !== undefined && !Object.hasOwn(policy.groups, group)) {
          throw new Error(`a grant names ${quote(whom)}, and there is no such group`);
        }
      }
    }
    return policy;
  } catch (error) {
    const why = error instanceof z.ZodError ? z.prettifyError(error) : (error as Error).message;
    throw new Error(`the policy ${quote(path)} cannot be used: ${why}`, { cause: error });
  }
}

function fingerprint(path: string): string {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false });
  return found ? `${found.ino} ${found.size} ${found.mtimeNs}` : 'gone';
}
