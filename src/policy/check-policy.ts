import { accessOf, type Bounds, covering, type Grant, isMeant, type Policy } from '../domain/access.js';
import { isPrincipal } from '../domain/callers/principal.js';
import { MemoirError, quote } from '../domain/errors.js';
import { longestRepositoryName, repositoryNamePattern } from '../domain/repositories/repository-name.js';
import { readPolicy } from './policy-file.js';

/** A grant as it is told. */
export type GivenGrant = {
  readonly to: readonly string[];
  readonly roles: readonly string[];
  readonly repositories: readonly string[];
  readonly bounds: readonly string[];
};

/** What a policy gives, and what of it gives nothing. */
export type CheckedPolicy = { readonly given: readonly GivenGrant[]; readonly warnings: readonly string[] };

/** Reads a policy and says what it gives to whom. @throws Error naming the file and what is wrong in it */
export function checkPolicy(path: string): CheckedPolicy {
  const policy = readPolicy(path);
  const given = policy.grants.map((grant) => ({
    to: grant.to.map((whom) => withMembers(policy, whom)),
    roles: grant.roles,
    repositories: grant.repositories,
    bounds: boundsText(grant.bounds ?? {}),
  }));
  return { given, warnings: warningsOf(policy) };
}

/** A principal or group, with whom the policy itself puts in it. */
function withMembers({ groups }: Policy, whom: string): string {
  const members = whom.startsWith('group:') ? groups[whom.slice('group:'.length)] : undefined;
  if (!members) return whom;
  return members.length === 0 ? `${whom} (whom tokens put in it)` : `${whom} (${members.join(' ')})`;
}

function warningsOf(policy: Policy): readonly string[] {
  const warnings: string[] = [];
  const meant = new Set(policy.grants.flatMap(({ to }) => to));
  for (const name of Object.keys(policy.groups)) {
    if (!meant.has(`group:${name}`)) warnings.push(`no grant is to the group ${quote(name)}`);
  }
  const named = new Set([...meant, ...Object.values(policy.groups).flat()]);
  for (const name of named)
    if (!mayBe(policy, name)) warnings.push(`nobody can be ${quote(name)}, whom the policy names`);
  for (const [group, members] of Object.entries(policy.groups)) {
    for (const name of members) {
      if (name === '*' || name.startsWith('group:')) {
        warnings.push(`${quote(name)} in the group ${quote(group)} is a principal of that name, and nobody else`);
      }
    }
  }
  for (const [i, grant] of policy.grants.entries()) {
    const before = policy.grants.find((other, j) => j !== i && covers(other, grant, j < i));
    if (before) warnings.push(`the grant ${grantText(grant)} gives nothing that ${grantText(before)} does not give`);
  }
  for (const { to, roles } of policy.grants) {
    if (to.includes('*') && (roles.includes('admin') || roles.includes('delegate'))) {
      warnings.push(`everybody has the role ${roles.includes('admin') ? 'admin' : 'delegate'} by a grant to "*"`);
    }
  }
  return warnings;
}

/** Whether a name of the policy may be anybody's: its groups' are, and principals' but that of the server itself. */
const mayBe = ({ groups }: Policy, name: string): boolean =>
  (name.startsWith('group:') && Object.hasOwn(groups, name.slice('group:'.length))) ||
  (isPrincipal(name) && name !== 'memoir');

/** Whether one grant gives all that another does; of two alike only the later one is told of. */
function covers(one: Grant, other: Grant, isBefore: boolean): boolean {
  if (one.bounds !== undefined || other.places !== undefined) return false;
  const whom = one.to.includes('*') || other.to.every((name) => one.to.includes(name));
  const roles = one.roles.includes('admin')
    ? other.roles.every((role) => role !== 'delegate' || one.roles.includes(role))
    : other.roles.every((role) => one.roles.includes(role));
  const where = one.repositories.includes('**') || other.repositories.every((glob) => one.repositories.includes(glob));
  if (!whom || !roles || !where) return false;
  return isBefore || JSON.stringify(one) !== JSON.stringify(other);
}

/** What a principal may do in a repository, and by which grants. */
export type ExplainedPolicy = {
  readonly may: readonly string[];
  readonly mayNot: readonly string[];
  readonly bounds: readonly string[];
  readonly grants: readonly string[];
};

/**
 * What the policy in a file lets somebody do in a repository.
 * @throws MemoirError INVALID_ARGUMENT BAD_PRINCIPAL or BAD_NAME if there can be no such principal or repository; Error naming the file and what is
 * wrong in it
 */
export function explainPolicy(
  path: string,
  { principal, repository, groups }: { principal: string; repository: string; groups: readonly string[] },
): ExplainedPolicy {
  if (!isPrincipal(principal)) {
    const what = `${quote(principal)} can be no principal: 1 to 256 printable ASCII characters without spaces`;
    throw new MemoirError('INVALID_ARGUMENT', 'BAD_PRINCIPAL', what);
  }
  if (!repositoryNamePattern.test(repository) || repository.length > longestRepositoryName) {
    throw new MemoirError('INVALID_ARGUMENT', 'BAD_NAME', `${quote(repository)} can be no name of a repository`);
  }
  const policy = readPolicy(path);
  const access = accessOf(policy, principal, groups);
  const deeds: readonly (readonly [deed: string, may: boolean])[] = [
    ['know the repository and read its jobs', access.knows(repository)],
    ['request jobs', access.submits(repository)],
    ['run jobs', access.works(repository)],
    ['steer any job and exclude commits', access.administers(repository)],
    [
      'add and remove the repository',
      access.administersAll || (access.administers(repository) && access.places(repository).length > 0),
    ],
    ['steer images, outputs and workers', access.administersAll],
    ['call on behalf of others', access.delegates],
  ];
  const grants = policy.grants.filter(
    ({ to, repositories }) =>
      covering(repositories)(repository) &&
      to.some((whom) => isMeant(policy.groups, whom, principal) || groups.some((name) => whom === `group:${name}`)),
  );
  return {
    may: deeds.filter(([, may]) => may).map(([deed]) => deed),
    mayNot: deeds.filter(([, may]) => !may).map(([deed]) => deed),
    bounds: access.submits(repository) ? boundsText(access.bounds(repository)) : [],
    grants: grants.map(grantText),
  };
}

const grantText = ({ to, roles, repositories }: Grant): string =>
  `of ${roles.join(', ')} in ${repositories.join(', ')} to ${to.join(', ')}`;

const boundNames = { priority: 'priority', cores: 'cores', ramMb: 'MiB of RAM', scratchMb: 'MiB of scratch disk' };

function boundsText(bounds: Bounds): readonly string[] {
  return Object.entries(boundNames).flatMap(([key, name]) => {
    const bound = bounds[key as keyof Bounds];
    if (bound === undefined) return [];
    return [key === 'priority' ? `${name} ${bound}` : `${bound} ${name}`];
  });
}
