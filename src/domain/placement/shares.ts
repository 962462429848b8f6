import { covering, type Groups, isMeant } from '../access.js';

/** What owners get of the queue and the workers. */
export type Share = {
  /** Principals, `group:` and a group's name, or `*` for everybody. */
  readonly to: readonly string[];
  /** How many turns one of them takes while another takes one. */
  readonly weight?: number | undefined;
  /** How many jobs of one of them may run at once. */
  readonly max_running?: number | undefined;
  /** How many jobs of one of them may be queued at once. */
  readonly max_queued?: number | undefined;
};

/** How many jobs of one repository may run at once. */
export type RepositoryCap = {
  /** Globs of repository names, as grants have them. */
  readonly repositories: readonly string[];
  readonly max_running: number;
};

/** What a policy says of shares. */
export type SharePolicy = {
  readonly groups: Groups;
  readonly shares: readonly Share[];
  readonly caps: readonly RepositoryCap[];
};

/** What one owner gets. */
export type OwnersShare = {
  readonly weight: number;
  /** Undefined for any number, as `maxQueued`. */
  readonly maxRunning: number | undefined;
  readonly maxQueued: number | undefined;
};

/** What owners get, as it is now. */
export type Shares = {
  ofOwner(principal: string): OwnersShare;
  /** How many jobs of a repository may run at once; undefined for any number. */
  maxRunningOf(repository: string): number | undefined;
  /** Calls `listener` after they changed. */
  onChange(listener: () => void): void;
};

/** What everybody gets where no policy says otherwise. */
const equalShare: OwnersShare = { weight: 1, maxRunning: undefined, maxQueued: undefined };

/** The shares where there is no policy: all alike. */
export const equalShares: Shares = {
  ofOwner: () => equalShare,
  maxRunningOf: () => undefined,
  onChange: () => undefined,
};

/** What a policy gives an owner: of each the first share that names the owner and says something of it. */
export function shareOf({ groups, shares }: SharePolicy, principal: string): OwnersShare {
  const own = shares.filter(({ to }) => to.some((whom) => isMeant(groups, whom, principal)));
  return {
    weight: own.find(({ weight }) => weight !== undefined)?.weight ?? equalShare.weight,
    maxRunning: own.find(({ max_running: most }) => most !== undefined)?.max_running,
    maxQueued: own.find(({ max_queued: most }) => most !== undefined)?.max_queued,
  };
}

/** How many jobs of a repository may run at once: what the first cap says whose globs take it in. */
export function repositoryCapOf({ caps }: Pick<SharePolicy, 'caps'>, repository: string): number | undefined {
  return caps.find(({ repositories }) => covering(repositories)(repository))?.max_running;
}
