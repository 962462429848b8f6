import picomatch from 'picomatch';

/** What a principal may do in a repository. */
export type Role = 'reader' | 'submitter' | 'worker' | 'auditor' | 'admin' | 'delegate';

/** Gives roles to principals. */
export type Grant = {
  /** Principals, `group:` and a group's name, or `*` for everybody. */
  readonly to: readonly string[];
  readonly roles: readonly Role[];
  /** Globs of repository names: `*` stands for anything within one part of a name, `**` for any parts. */
  readonly repositories: readonly string[];
  /** The most that may be asked for in jobs of them; absent for any. */
  readonly bounds?: Bounds;
  /** Paths and URLs below which admins by this grant may add repositories; absent: none, but for admins of all. */
  readonly places?: readonly string[];
};

/** Principals of each group, by its name. */
export type Groups = Readonly<Record<string, readonly string[]>>;

/** The most that a principal may ask for: priority, and what is asked of the place where a job runs, RAM and scratch disk in MiB. Absent for any. */
export type Bounds = {
  readonly priority?: number;
  readonly cores?: number;
  readonly ramMb?: number;
  readonly scratchMb?: number;
};

const boundNames = ['priority', 'cores', 'ramMb', 'scratchMb'] as const;

/** Who may do what. */
export type Policy = {
  readonly groups: Groups;
  readonly grants: readonly Grant[];
};

/** What one principal may do. */
export type Access = {
  readonly principal: string;
  /** True if it may read every job of every repository. */
  readonly readsAll: boolean;
  /** Whether it has any role in a repository, and so may know of it and read its jobs. */
  knows(repository: string): boolean;
  /** Whether it may read a job: it owns the job, or knows the job's repository. */
  reads(job: Owned): boolean;
  /** Whether it may request jobs of a repository. */
  submits(repository: string): boolean;
  /** Whether it may request jobs of any repository at all. */
  readonly submitsSome: boolean;
  /** The most that it may ask for in jobs of a repository: what the most generous of the grants allows by which it may request them. */
  bounds(repository: string): Bounds;
  /** Whether it may run jobs of a repository. */
  works(repository: string): boolean;
  /** True if it may run jobs of every repository. */
  readonly worksAll: boolean;
  /** Whether it may steer any job of a repository, and exclude its commits from reuse. */
  administers(repository: string): boolean;
  /** Whether it may steer a job: it owns the job, or administers the job's repository. */
  steers(job: Owned): boolean;
  /** Whether it administers every repository, and so what belongs to none: images, outputs and workers. */
  readonly administersAll: boolean;
  /** Paths and URLs below which it may add repositories of a name; whoever administers all may add them anywhere. */
  places(repository: string): readonly string[];
  /** Whether it may call on behalf of others whose tokens it has. */
  readonly delegates: boolean;
};

/** What of a job decides who may do what with it. */
export type Owned = { readonly owner: string; readonly repository: string };

/** The glob that stands for every repository. */
const everywhere = '**';

/** What a principal does with a job. */
export type Deed = 'read' | 'start' | 'report' | 'steer';

/**
 * Whether a principal may do something with a job: `hidden` if it may not even know of the job. Reports of a run are let
 * through to whoever may know of the job, since it is the job that knows its worker.
 */
export function permission(
  access: Pick<Access, 'principal' | 'reads' | 'works' | 'steers'>,
  job: Owned & { readonly claimedBy: string },
  deed: Deed,
): 'granted' | 'denied' | 'hidden' {
  const held = job.claimedBy !== '' && job.claimedBy === access.principal;
  const known = access.reads(job) || held;
  if (deed === 'read' || deed === 'report' ? known : mayDo(access, job, deed)) return 'granted';
  return known ? 'denied' : 'hidden';
}

function mayDo(access: Pick<Access, 'works' | 'steers'>, job: Owned, deed: 'start' | 'steer'): boolean {
  return deed === 'start' ? access.works(job.repository) : access.steers(job);
}

/** The access of a principal where there is no policy: everything. */
export function unrestricted(principal: string): Access {
  const yes = () => true;
  return {
    principal,
    readsAll: true,
    worksAll: true,
    administersAll: true,
    delegates: true,
    knows: yes,
    reads: yes,
    submits: yes,
    submitsSome: true,
    bounds: () => ({}),
    places: () => [],
    works: yes,
    administers: yes,
    steers: yes,
  };
}

/**
 * What the policy gives a principal. Nothing is allowed that no grant names.
 * @param inGroups that the principal is in beside those of the policy, as its credential proves
 */
export function accessOf(policy: Policy, principal: string, inGroups: readonly string[] = []): Access {
  const grants = policy.grants.filter(({ to }) =>
    to.some((whom) => isMeant(policy.groups, whom, principal) || inGroups.some((group) => whom === `group:${group}`)),
  );
  const globsOf = (...roles: Role[]) =>
    grants.filter((grant) => roles.some((role) => grant.roles.includes(role))).flatMap((grant) => grant.repositories);
  const matcher = (globs: readonly string[]): ((repository: string) => boolean) =>
    globs.length === 0 ? () => false : remembering(covering(globs));
  const bounding = grants
    .filter(({ roles }) => roles.some((role) => role === 'submitter' || role === 'admin'))
    .map(({ repositories, bounds = {} }) => ({ bounds, covers: matcher(repositories) }));
  const any = globsOf('reader', 'submitter', 'worker', 'auditor', 'admin');
  const admin = globsOf('admin');
  const works = globsOf('worker', 'admin');
  const submits = globsOf('submitter', 'admin');
  const knows = matcher(any);
  const administers = matcher(admin);
  return {
    principal,
    readsAll: any.includes(everywhere),
    worksAll: works.includes(everywhere),
    administersAll: admin.includes(everywhere),
    delegates: globsOf('delegate').includes(everywhere),
    knows,
    reads: ({ owner, repository }) => owner === principal || knows(repository),
    submits: matcher(submits),
    submitsSome: submits.length > 0,
    bounds: remembering((repository) =>
      mostGenerous(bounding.filter(({ covers }) => covers(repository)).map(({ bounds }) => bounds)),
    ),
    works: matcher(works),
    places: (repository) =>
      grants
        .filter(({ roles, repositories }) => roles.includes('admin') && covering(repositories)(repository))
        .flatMap(({ places = [] }) => places),
    administers,
    steers: ({ owner, repository }) => owner === principal || administers(repository),
  };
}

/** What tells whether the name of a repository matches one of the globs of a policy. */
export function covering(globs: readonly string[]): (repository: string) => boolean {
  const match = picomatch([...globs], { dot: true, nonegate: true });
  return (repository) => match(repository);
}

/** Whether a principal is meant by a principal's name, `group:` and a group's name, or `*`. */
export function isMeant(groups: Groups, whom: string, principal: string): boolean {
  if (whom === '*') return true;
  // Compared with groups alone: a principal may call itself "group:" and a name.
  if (whom.startsWith('group:')) return (groups[whom.slice('group:'.length)] ?? []).includes(principal);
  return whom === principal;
}

/** The most that any of some bounds allow. Without any, who may not request jobs may ask for no more than every job does. */
function mostGenerous(all: readonly Bounds[]): Bounds {
  const most: { -readonly [Name in keyof Bounds]: Bounds[Name] } = {};
  for (const name of boundNames) {
    const values = all.map((bounds) => bounds[name] ?? Number.POSITIVE_INFINITY);
    const bound = all.length === 0 ? 0 : Math.max(...values);
    if (bound !== Number.POSITIVE_INFINITY) most[name] = bound;
  }
  return most;
}

/** Most repositories whose answer is kept. */
const remembered = 10_000;

function remembering<Answer>(matches: (repository: string) => Answer): (repository: string) => Answer {
  const known = new Map<string, Answer>();
  return (repository) => {
    const before = known.get(repository);
    if (before !== undefined) return before;
    if (known.size >= remembered) known.clear();
    const answer = matches(repository);
    known.set(repository, answer);
    return answer;
  };
}
