import * as fs from 'node:fs';
import { join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import git from 'isomorphic-git';
import { fileKind } from '../file-kind.js';
import { errno } from '../problem.js';
import { noteAdvertisedRefs } from './advertised-refs.js';
import { createGitProtocol } from './git-protocol.js';
import { createMirrorHttp } from './mirror-http.js';
import type { MirrorThreadData, MirrorThreadMessage } from './mirror-protocol.js';
import { publishRefs } from './publish-refs.js';

// The thread that fetches a mirror once, and ends with it.

const { url, directory, credentials, rules, limits } = workerData as MirrorThreadData;
const gitdir = join(directory, 'fetched.git');

function say(message: MirrorThreadMessage): void {
  parentPort?.postMessage(message);
}

async function fetchOnce(): Promise<number> {
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

/** What went wrong, without the paths of this machine: callers are told. */
function problemOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return 'path' in error && errno(error) ? `its mirror cannot be written: ${errno(error)}` : error.message;
}

try {
  say({ kind: 'fetched', refs: await fetchOnce() });
} catch (error) {
  say({ kind: 'failed', problem: problemOf(error) });
}
