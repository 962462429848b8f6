import { RE2JS } from 're2js';
import { repositoryGlobs } from '../repositories/repository-glob.js';

/** A secret as a job asks for it: by its name, and by which grant of the configuration of workers. */
export type Secret = { readonly name: string; readonly grant: string };

/** A secret that a worker has, and to whom it may be given. */
export type GrantedSecret = Secret & {
  /** Globs of repositories, as in a policy. */
  readonly repositories: readonly string[];
  /** Globs of principals: `*` stands for any characters. */
  readonly principals: readonly string[];
};

/** A secret in words: `NAME@grant`. */
export const secretText = ({ name, grant }: Secret): string => `${name}@${grant}`;

/** Whether two are the same secret: the same grant by the same name. */
export const isSameSecret = (one: Secret, other: Secret): boolean =>
  one.name === other.name && one.grant === other.grant;

/** Secrets as the rules compare them, and tables keep them: their words in order; empty for none. */
export function secretsText(secrets: readonly Secret[]): string {
  return secrets.length === 0 ? '' : secrets.map(secretText).sort().join(' ');
}

/** Whether a text is the name of a secret: that of a file too. */
export const isSecretName = (text: string): boolean => /^[A-Za-z_][A-Za-z0-9_]{0,63}$/.test(text);

/** Whether a text is the id of a grant. */
export const isGrantId = (text: string): boolean => /^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}$/.test(text);

/** Longest glob, and how many a grant has at most of each kind. */
export const grantLimits = { glob: 256, globs: 64, secrets: 256 } as const;

/** Whether a text is a glob of principals. */
export const isPrincipalGlob = (text: string): boolean => /^[\x21-\x7e]{1,256}$/.test(text);

/** What compiled globs match; they come from whoever calls, and take time that grows with the lengths alone. */
const compiled = new Map<string, (text: string) => boolean>();
const mostCompiled = 1_000;

function matches(kind: 'repositories' | 'principals', globs: readonly string[], text: string): boolean {
  const key = JSON.stringify([kind, ...globs]);
  let known = compiled.get(key);
  if (!known) {
    known = (kind === 'repositories' ? repositoryGlobs(globs) : principalGlobs(globs)) ?? (() => false);
    if (compiled.size >= mostCompiled) compiled.clear();
    compiled.set(key, known);
  }
  return known(text);
}

function principalGlobs(globs: readonly string[]): ((principal: string) => boolean) | undefined {
  if (globs.length === 0 || !globs.every(isPrincipalGlob)) return undefined;
  const pattern = RE2JS.compile(globs.map((glob) => glob.split('*').map(RE2JS.quote).join('.*')).join('|'));
  return (principal) => pattern.matches(principal);
}

/** Whether a secret may be given to jobs of a repository that a principal wants. */
export function isGranted(secret: GrantedSecret, repository: string, principal: string): boolean {
  const { repositories, principals } = secret;
  if (repositories.length === 0 || principals.length === 0) return false;
  return matches('repositories', repositories, repository) && matches('principals', principals, principal);
}

/** Of the secrets that a job asks for, the first that is not there for everybody who wants it; undefined if all are. */
export function firstUngranted(
  wanted: readonly Secret[],
  there: readonly GrantedSecret[],
  repository: string,
  principals: Iterable<string>,
): Secret | undefined {
  const all = [...principals];
  return wanted.find(
    (secret) =>
      !there.some(
        (one) => isSameSecret(one, secret) && all.every((principal) => isGranted(one, repository, principal)),
      ),
  );
}
