import { readFileSync, statSync } from 'node:fs';
import type { Logger } from 'pino';
import { parse } from 'smol-toml';
import * as z from 'zod';
import { type Access, accessOf, type Policy } from '../domain/access.js';
import { quote } from '../domain/errors.js';

/** How often the file is looked at for a change, in milliseconds. */
const interval = 500;

/** How long a changed file must stay as it is to be taken, in milliseconds, and how long if it looks cut off. */
const settled = 1_000;
const settledIfCut = 5_000;

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
 * Reads the policy at `path`, a TOML file of `groups` and `grants`, and reads it again when it changes. A change is taken when the file
 * has stayed as it is for a second, and one that looks cut off, since the text before begins with it, for five: what an editor or a
 * copy has half written must lock nobody out or in. Which grants came and went is logged. A change that is no policy, or an empty one,
 * is logged too, and the policy before it goes on.
 * @throws Error naming the file and what is wrong in it, if it is no policy when the server starts
 */
export function openPolicyFile(path: string, logger: Logger): PolicyFile {
  let { policy, text } = read(path);
  let done = fingerprint(path);
  let seen = done;
  let since = performance.now();
  let known = new Map<string, Access>();

  /** Looks at the file once. */
  function look(): void {
    const now = fingerprint(path);
    if (now !== seen) {
      seen = now;
      since = performance.now();
    }
    const stayed = performance.now() - since;
    if (now === done || stayed < settled) return;
    try {
      const next = read(path);
      // It changed while it was read.
      if (fingerprint(path) !== now) return;
      const cut = next.text.length < text.length && text.startsWith(next.text);
      if (cut && stayed < settledIfCut) return;
      done = now;
      logger.info({ path, ...changes(policy, next.policy) }, 'the policy was read again');
      ({ policy, text } = next);
      known = new Map();
    } catch (error) {
      done = now;
      logger.error({ path, err: error }, 'the changed policy cannot be used; the one before it goes on');
    }
  }

  const timer = setInterval(look, interval);
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

/** What a change of the policy did, for the log: the grants that came and went, and the groups whose principals are others. */
function changes(
  before: Policy,
  after: Policy,
): { grants: number; added: string[]; removed: string[]; groups: string[] } {
  const [old, now] = [before, after].map(({ grants }) => grants.map((grant) => JSON.stringify(grant)));
  const members = ({ groups }: Policy, name: string) => JSON.stringify(groups[name]);
  const names = new Set([...Object.keys(before.groups), ...Object.keys(after.groups)]);
  return {
    grants: after.grants.length,
    added: now?.filter((grant) => !old?.includes(grant)) ?? [],
    removed: old?.filter((grant) => !now?.includes(grant)) ?? [],
    groups: [...names].filter((name) => members(before, name) !== members(after, name)),
  };
}

/** The policy in a file. @throws Error naming the file, the place in it and what is wrong */
export function readPolicy(path: string): Policy {
  return read(path).policy;
}

function read(path: string): { readonly policy: Policy; readonly text: string } {
  try {
    const text = readFileSync(path, 'utf8');
    const policy = schema.parse(parse(text));
    if (policy.grants.length === 0) throw new Error('it has no grant, so that nobody could do anything');
    for (const { to } of policy.grants) {
      for (const whom of to) {
        const group = whom.startsWith('group:') ? whom.slice('group:'.length) : undefined;
        if (group !== undefined && !Object.hasOwn(policy.groups, group)) {
          throw new Error(`a grant names ${quote(whom)}, and there is no such group`);
        }
      }
    }
    return { policy, text };
  } catch (error) {
    const why = error instanceof z.ZodError ? z.prettifyError(error) : (error as Error).message;
    throw new Error(`the policy ${quote(path)} cannot be used: ${why}`, { cause: error });
  }
}

function fingerprint(path: string): string {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false });
  return found ? `${found.ino} ${found.size} ${found.mtimeNs}` : 'gone';
}
