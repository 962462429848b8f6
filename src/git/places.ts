import type { RemoteConfig } from './mirror/open-remote.js';

/** Where a repository is: a local directory, or a server to fetch it from. */
export type RepositoryPlace = (LocalPlace | RemoteConfig) & {
  /** Whether the repository need not be there when it is opened: it is looked for again by each call until it is. */
  readonly late?: true;
};

type LocalPlace = { readonly path: string };
