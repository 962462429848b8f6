import { MemoirError, quote } from '../../domain/errors.js';
import type { HistoryLog } from '../graph/history.js';
import { type PackLimits, packLimits } from '../packs/pack-limits.js';
import type { TransportLimits } from '../protocol/transport.js';
import type { Repository } from '../repository.js';
import { type SliceSizes, sliceSizes } from './fetch-slices.js';
import { createMirror, type MirrorSurroundings, type MirrorTimes } from './mirror.js';
import type { StoreLimits } from './mirror-store.js';
import { createRemoteRepository } from './remote-repository.js';
import { type RemoteRules, refusedUrl } from './remote-rules.js';

/** A repository that is fetched from elsewhere. */
export type RemoteConfig = {
  /** `https:`, or `http:` or `git:` where that is allowed; without credentials. */
  readonly url: string;
  /** Sent to the server of `url` alone, if it asks; `git:` has no way to. */
  readonly credentials?: { readonly username: string; readonly password: string };
};

/** What is allowed of remote repositories, and when they are fetched. */
export type RemoteOptions = RemoteRules &
  Omit<MirrorTimes, 'patience'> &
  TransportLimits &
  StoreLimits & { readonly packs: Partial<PackLimits>; readonly slices: SliceSizes };

const day = 86_400_000;

/** Nothing is allowed; what would be is fetched at most every ten seconds, and never served stale. */
export const remoteDefaults: RemoteOptions = {
  allowedHosts: [],
  allowHttp: false,
  allowGit: false,
  allowPrivateAddresses: false,
  refreshAfter: 10_000,
  acceptStale: 0,
  deadline: 120_000,
  keepUnreachable: 14 * day,
  pruneEvery: day,
  silence: 30_000,
  bytes: 1024 * 1024 * 1024,
  mirrorBytes: 16 * 1024 * 1024 * 1024,
  packs: {},
  slices: sliceSizes,
};

/** What a remote repository takes from what is around it. */
export type RemoteSurroundings = {
  /** Directory for the mirror, which no other repository may use. */
  readonly directory: string;
  readonly edge: MirrorSurroundings['edge'];
  readonly log: HistoryLog;
  /** See `MirrorSurroundings`. */
  readonly commitsOfJobs: MirrorSurroundings['commitsOfJobs'];
  /** How long a caller waits for a fetch, in milliseconds. */
  readonly patience: number;
  /** Opens the mirror at a path. */
  readonly open: (path: string) => Repository;
};

/**
 * Opens a remote repository; nothing is fetched yet.
 * @throws MemoirError FAILED_PRECONDITION REMOTE_NOT_ALLOWED, naming repository and URL, but for credentials in it
 */
export function openRemote(
  name: string,
  { url, credentials }: RemoteConfig,
  {
    allowedHosts,
    allowHttp,
    allowGit,
    allowPrivateAddresses,
    refreshAfter,
    acceptStale,
    deadline,
    keepUnreachable,
    pruneEvery,
    silence,
    bytes,
    mirrorBytes,
    packs,
    slices,
  }: RemoteOptions,
  { directory, edge, log, commitsOfJobs, patience, open }: RemoteSurroundings,
): Repository {
  const rules: RemoteRules = { allowedHosts, allowHttp, allowGit, allowPrivateAddresses };
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  const withoutUse = parsed?.protocol === 'git:' && credentials ? 'the scheme "git:" takes no credentials' : undefined;
  const refused = parsed ? (refusedUrl(parsed, rules) ?? withoutUse) : 'it is not a URL';
  if (refused !== undefined) {
    const shown = parsed ? `${parsed.protocol}//${parsed.host}${parsed.pathname}` : url;
    throw new MemoirError(
      'FAILED_PRECONDITION',
      'REMOTE_NOT_ALLOWED',
      `repository ${quote(name)} at ${quote(shown)}: ${refused}`,
      {
        metadata: { repository: name },
      },
    );
  }
  const data = {
    name,
    url,
    directory,
    credentials,
    rules,
    limits: { silence, ...packLimits, ...packs, bytes, mirrorBytes },
    slices,
  };
  const times = { refreshAfter, acceptStale, deadline, patience, keepUnreachable, pruneEvery };
  const mirror = createMirror(data, times, { edge, log, commitsOfJobs });
  return createRemoteRepository(mirror, open);
}
