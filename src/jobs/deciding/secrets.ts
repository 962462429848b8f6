import { invalid, MemoirError, quote } from '../../domain/errors.js';
import {
  type GrantedSecret,
  isGranted,
  isGrantId,
  isSameSecret,
  isSecretName,
  type Secret,
  secretsText,
} from '../../domain/secrets/grants.js';
import type { Caller } from '../caller.js';
import type { JobsContext } from '../context.js';
import { lately } from '../workers/seen-lately.js';
import { needsSharedRuns } from './needs-shared-runs.js';

/** Most secrets of a job. */
const mostSecrets = 64;

type Context = Pick<JobsContext, 'grants' | 'sharesRuns'>;

/** What a request asks for of secrets. */
export type WantedSecrets = {
  /** By name, in order. */
  readonly those: readonly Secret[];
  /** The same as the rules compare them. */
  readonly text: string;
  /** Whether no worker that was seen lately has all of them for the caller: it may not come to want an unfinished job with them. */
  readonly ungranted: boolean;
};

/** @throws MemoirError INVALID_ARGUMENT BAD_SECRET, TOO_MANY naming the first that is wrong */
export function checkSecrets(secrets: readonly string[]): void {
  if (secrets.length > mostSecrets) {
    throw invalid('secrets', 'TOO_MANY', `secrets names ${secrets.length}, and ${mostSecrets} is the limit`);
  }
  const names = new Set<string>();
  for (const [i, given] of secrets.entries()) {
    const field = `secrets[${i}]`;
    const bad = (why: string) => invalid(field, 'BAD_SECRET', `${field} ${quote(given)} ${why}`);
    const { name, grant } = partsOf(given);
    if (!isSecretName(name) || (grant !== undefined && !isGrantId(grant))) {
      throw bad(
        'is not the name of a secret, or a name, "@" and the id of a grant, such as "DB_PASSWORD" or "DB_PASSWORD@prod"',
      );
    }
    if (names.has(name)) throw bad('has a name that stands before it already');
    names.add(name);
  }
}

function partsOf(given: string): { readonly name: string; readonly grant?: string } {
  const at = given.indexOf('@');
  return at < 0 ? { name: given } : { name: given.slice(0, at), grant: given.slice(at + 1) };
}

/**
 * The secrets that a request asks for, which `checkSecrets` let through, each with its grant. A name alone stands for the one grant that
 * workers seen lately have for the caller; whose it is otherwise is not told.
 * @throws MemoirError INVALID_ARGUMENT UNKNOWN_SECRET, AMBIGUOUS_SECRET naming the grants; FAILED_PRECONDITION below log format 4
 */
export function wantedSecrets(
  context: Context,
  caller: Pick<Caller, 'principal'>,
  { repository, secrets }: { readonly repository: string; readonly secrets: readonly string[] },
): WantedSecrets {
  if (!context.sharesRuns) throw needsSharedRuns('secrets', { field: 'secrets' });
  const granted = grantedTo(context, caller.principal, repository);
  const those = secrets.map((given, i): Secret => {
    const { name, grant } = partsOf(given);
    return { name, grant: grant ?? onlyGrant(`secrets[${i}]`, name, granted) };
  });
  those.sort((a, b) => (a.name < b.name ? -1 : 1));
  return { those, text: secretsText(those), ungranted: !hasAll(granted, those) };
}

function onlyGrant(field: string, name: string, granted: readonly Secret[]): string {
  const grants = [...new Set(granted.filter((one) => one.name === name).map(({ grant }) => grant))].sort();
  const [grant] = grants;
  if (grants.length === 1 && grant !== undefined) return grant;
  if (grant === undefined) {
    const message = `${field} ${quote(name)}: no worker seen in the last ${lately} has it for jobs of yours in the repository; name the grant, as ${name}@GRANT, to wait for one`;
    throw invalid(field, 'UNKNOWN_SECRET', message);
  }
  const those = grants.map((one) => `${name}@${one}`).join(', ');
  throw new MemoirError(
    'INVALID_ARGUMENT',
    'AMBIGUOUS_SECRET',
    `${field} ${quote(name)} may be any of ${those}; name one`,
    {
      field,
      metadata: { grants: grants.join(' ') },
    },
  );
}

/** Whether no worker that was seen lately has the secrets of a job for a principal. */
export function isUngranted(
  context: Pick<Context, 'grants'>,
  principal: string,
  { repository, secrets }: { readonly repository: string; readonly secrets: readonly Secret[] },
): boolean {
  return secrets.length > 0 && !hasAll(grantedTo(context, principal, repository), secrets);
}

function grantedTo(
  { grants }: Pick<Context, 'grants'>,
  principal: string,
  repository: string,
): readonly GrantedSecret[] {
  return grants?.(repository).filter((one) => isGranted(one, repository, principal)) ?? [];
}

function hasAll(granted: readonly Secret[], those: readonly Secret[]): boolean {
  return those.every((secret) => granted.some((one) => isSameSecret(one, secret)));
}
