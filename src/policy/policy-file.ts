import { readFileSync } from 'node:fs';
import { normalize } from 'node:path/posix';
import type { Logger } from 'pino';
import { parse } from 'smol-toml';
import * as z from 'zod';
import { type Access, accessOf, type Grant, type Policy } from '../domain/access.js';
import type { Credential, Who } from '../domain/callers/credential.js';
import { quote } from '../domain/errors.js';
import { repositoryCapOf, type SharePolicy, type Shares, shareOf } from '../domain/placement/shares.js';
import { heaviest } from '../domain/placement/turns.js';
import { remembering } from '../domain/remembering.js';
import { watchText } from '../files/watched-files.js';

/** Principals whose access is kept, and owners and repositories whose share is. */
const remembered = 10_000;

const role = z.enum(['reader', 'submitter', 'worker', 'auditor', 'admin', 'delegate']);
const glob = z.string().regex(/^[A-Za-z0-9._/*?-]+$/, 'is no glob of letters, digits, ".", "_", "-", "/", "*" and "?"');
/** A directory or an address below which repositories may be added. */
const place = z.string().refine((text) => {
  const plain = text.endsWith('/') ? text.slice(0, -1) : text;
  return text.startsWith('/')
    ? plain === normalize(plain)
    : URL.canParse(text) && new URL(plain).href.startsWith(plain);
}, 'is neither an absolute path nor a URL, without "." and ".."');
/** A whole number, refused by its value. */
const whole = (what: string, least: number, most: number) =>
  z
    .unknown()
    .refine((value) => Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most, {
      error: ({ input }) => `${quote(String(input))} is no ${what}: give a whole number from ${least} to ${most}`,
    })
    .transform((value) => value as number);
const whom = z.array(z.string().min(1)).min(1);
const number = (what: string) => whole(`number of ${what}`, 0, 1_000_000_000);
const mib = () => whole('number of MiB', 0, Number.MAX_SAFE_INTEGER).optional();
const bounds = {
  max_priority: whole('priority', -(2 ** 31), 2 ** 31 - 1).optional(),
  max_cores: number('cores').optional(),
  max_ram_mb: mib(),
  max_scratch_mb: mib(),
};
const schema = z.strictObject({
  groups: z.record(z.string().min(1), z.array(z.string().min(1))).default({}),
  grants: z
    .array(
      z.strictObject({
        to: whom,
        roles: z.array(role).min(1),
        repositories: z.array(glob).min(1),
        places: z.array(place).min(1).optional(),
        ...bounds,
      }),
    )
    .default([]),
  shares: z
    .array(
      z.strictObject({
        to: whom,
        weight: whole('weight', 1, heaviest).optional(),
        max_running: number('running jobs').optional(),
        max_queued: number('queued jobs').optional(),
      }),
    )
    .default([]),
  caps: z
    .array(z.strictObject({ repositories: z.array(glob).min(1), max_running: number('running jobs') }))
    .default([]),
});

/** What a policy file says. */
type WholePolicy = Policy & SharePolicy;

/** The policy of a server. */
export type PolicyFile = {
  /** What a principal may do now, or by a credential. */
  accessOf(who: Who): Access;
  /** What owners get of the queue and the workers now. */
  readonly shares: Shares;
  /** Ends the watch over the file. */
  close(): void;
};

/**
 * Reads the policy at `path`, a TOML file of `groups`, `grants`, `shares` and `caps`, and reads it again when it changes. A change is taken when the file
 * has stayed as it is for a second, and one that looks cut off, since the text before begins with it, for five: what an editor or a
 * copy has half written must lock nobody out or in. Which grants came and went is logged. A change that is no policy, or an empty one,
 * is logged too, and the policy before it goes on.
 * @throws Error naming the file and what is wrong in it, if it is no policy when the server starts
 */
export function openPolicyFile(path: string, logger: Logger): PolicyFile {
  const { policy: first, text } = read(path);
  let policy = first;
  let known = lookedUp(policy);
  const listeners: (() => void)[] = [];

  function take(text: string): void {
    const next = parsePolicy(text);
    logger.info({ path, ...changes(policy, next) }, 'the policy was read again');
    policy = next;
    known = lookedUp(policy);
    for (const listener of listeners) listener();
  }

  const watch = watchText(path, text, {
    take,
    failed: (error) =>
      logger.error(
        { path, err: unusable(path, error) },
        'the changed policy cannot be used; the one before it goes on',
      ),
  });

  return {
    accessOf(who) {
      if (typeof who === 'string') return known.access(who);
      const before = known.proven.get(who);
      if (before) return before;
      const access = accessOf(policy, who.principal, who.groups);
      known.proven.set(who, access);
      return access;
    },
    shares: {
      ofOwner: (principal) => known.share(principal),
      maxRunningOf: (repository) => known.cap(repository),
      onChange: (listener) => void listeners.push(listener),
    },
    close: () => watch.close(),
  };
}

/** What a policy says of who and what was asked for, looked up once. */
function lookedUp(policy: WholePolicy) {
  return {
    access: remembering((principal: string) => accessOf(policy, principal), remembered),
    // By the credential itself: the groups of one are not those of another of the same principal.
    proven: new WeakMap<Credential, Access>(),
    share: remembering((principal: string) => shareOf(policy, principal), remembered),
    cap: remembering((repository: string) => repositoryCapOf(policy, repository), remembered),
  };
}

/**
 * What a change of the policy did, for the log: the grants that came and went, the groups whose principals are others, and whether owners get
 * other shares.
 */
function changes(
  before: WholePolicy,
  after: WholePolicy,
): { grants: number; added: string[]; removed: string[]; groups: string[]; shares: boolean } {
  const [old, now] = [before, after].map(({ grants }) => grants.map((grant) => JSON.stringify(grant)));
  const members = ({ groups }: Policy, name: string) => JSON.stringify(groups[name]);
  const names = new Set([...Object.keys(before.groups), ...Object.keys(after.groups)]);
  return {
    grants: after.grants.length,
    added: now?.filter((grant) => !old?.includes(grant)) ?? [],
    removed: old?.filter((grant) => !now?.includes(grant)) ?? [],
    groups: [...names].filter((name) => members(before, name) !== members(after, name)),
    shares: JSON.stringify([before.shares, before.caps]) !== JSON.stringify([after.shares, after.caps]),
  };
}

/** The policy in a file. @throws Error naming the file, the place in it and what is wrong */
export function readPolicy(path: string): WholePolicy {
  return read(path).policy;
}

function read(path: string): { readonly policy: WholePolicy; readonly text: string } {
  try {
    const text = readFileSync(path, 'utf8');
    return { policy: parsePolicy(text), text };
  } catch (error) {
    throw unusable(path, error);
  }
}

/** Says of which policy an error is. */
function unusable(path: string, error: unknown): Error {
  const why = error instanceof z.ZodError ? z.prettifyError(error) : (error as Error).message;
  return new Error(`the policy ${quote(path)} cannot be used: ${why}`, { cause: error });
}

/** The policy that a text of the file says. @throws ZodError, or Error saying what is wrong */
function parsePolicy(text: string): WholePolicy {
  const { grants, ...rest } = schema.parse(parse(text));
  const policy = { ...rest, grants: grants.map(grantOf) };
  if (policy.grants.length === 0) throw new Error('it has no grant, so that nobody could do anything');
  for (const [what, { to }] of [
    ...policy.grants.map((one) => ['grant', one] as const),
    ...policy.shares.map((one) => ['share', one] as const),
  ]) {
    for (const whom of to) {
      const group = whom.startsWith('group:') ? whom.slice('group:'.length) : undefined;
      if (group !== undefined && !Object.hasOwn(policy.groups, group)) {
        throw new Error(`a ${what} names ${quote(whom)}, and there is no such group`);
      }
    }
  }
  return policy;
}

/** @throws Error if it bounds what nobody may ask for by it */
function grantOf({ to, roles, repositories, places, ...bounds }: z.infer<typeof schema>['grants'][number]): Grant {
  if (roles.includes('delegate') && !repositories.includes('**')) {
    throw new Error(
      `the grant to ${to.map((whom) => quote(whom)).join(', ')} has the role delegate for some repositories: it is for all of them, "**"`,
    );
  }
  if (places && !roles.includes('admin')) {
    throw new Error(
      `the grant to ${to.map((whom) => quote(whom)).join(', ')} has places, and lets nobody add repositories: that is for the role admin`,
    );
  }
  const grant = { to, roles, repositories, ...(places && { places }) };
  const given = Object.keys(bounds).find((name) => bounds[name as keyof typeof bounds] !== undefined);
  if (given === undefined) return grant;
  if (!roles.includes('submitter') && !roles.includes('admin')) {
    throw new Error(
      `the grant to ${to.map((whom) => quote(whom)).join(', ')} has ${given}, and lets nobody request jobs`,
    );
  }
  const { max_priority: priority, max_cores: cores, max_ram_mb: ramMb, max_scratch_mb: scratchMb } = bounds;
  const most = {
    ...(priority !== undefined && { priority }),
    ...(cores !== undefined && { cores }),
    ...(ramMb !== undefined && { ramMb }),
    ...(scratchMb !== undefined && { scratchMb }),
  };
  return { ...grant, bounds: most };
}
