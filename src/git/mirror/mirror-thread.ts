import * as fs from 'node:fs';
import { join } from 'node:path';
import git from 'isomorphic-git';
import { serveThread } from '../../threads/serve-thread.js';
import { fileKind } from '../file-kind.js';
import { errno } from '../problem.js';
import { noteAdvertisedRefs } from './advertised-refs.js';
import { createGitProtocol } from './git-protocol.js';
import { createMirrorHttp, type HttpLimits } from './mirror-http.js';
import { publishRefs } from './publish-refs.js';
import type { RemoteRules } from './remote-rules.js';

// The thread that fetches a mirror once, and ends with it.

/** What is fetched, and how. */
export type MirrorSource = {
  readonly name: string;
  readonly url: string;
  /** Directory of the mirror: `fetched.git`, where objects arrive, and `served.git`, whose refs move only once they are whole. */
  readonly directory: string;
  readonly credentials: { readonly username: string; readonly password: string } | undefined;
  readonly rules: RemoteRules;
  readonly limits: HttpLimits;
};

/** Fetches, and gives the number of refs. */
async function fetchOnce({ url, directory, credentials, rules, limits }: MirrorSource): Promise<number> {
  const gitdir = join(directory, 'fetched.git');
  if (!fileKind(join(gitdir, 'config'))) await git.init({ fs, gitdir, bare: true });
  await git.setConfig({ fs, gitdir, path: 'remote.origin.url', value: url });
  await git.setConfig({ fs, gitdir, path: 'remote.origin.fetch', value: '+refs/heads/*:refs/heads/*' });
  const overGit = url.startsWith('git:');
  const http = noteAdvertisedRefs(
    overGit ? createGitProtocol(new URL(url), rules, limits) : createMirrorHttp(rules, limits),
  );
  await git.fetch({
    fs,
    http,
    gitdir,
    // isomorphic-git takes no other scheme; the client for `git:` knows where to go.
    url: overGit ? url.replace('git:', 'http:') : url,
    remote: 'origin',
    remoteRef: 'HEAD',
    prune: true,
    onAuth: () => credentials ?? { cancel: true },
    onAuthFailure: () => ({ cancel: true }),
  });
  const advertised = http.advertised();
  if (!advertised) throw new Error('it sends no list of refs');
  return publishRefs(advertised, gitdir, join(directory, 'served.git'));
}

/** What goes wrong is told without the paths of this machine: callers are told. */
function withoutPaths(error: unknown): unknown {
  const code = error instanceof Error && 'path' in error ? errno(error) : undefined;
  return code ? new Error(`its mirror cannot be written: ${code}`, { cause: error }) : error;
}

const open = () => ({
  fetch: (source: MirrorSource) =>
    fetchOnce(source).catch((error: unknown) => {
      throw withoutPaths(error);
    }),
});

/** The thread's type. */
export type MirrorThread = typeof open;

serveThread(open);
