import * as fs from 'node:fs';
import { join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import git from 'isomorphic-git';
import { fileKind } from '../file-kind.js';
import { isRefName } from '../ref-name.js';
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
  const { defaultBranch } = await git.fetch({
    fs,
    http: overGit ? createGitProtocol(new URL(url), rules, limits) : createMirrorHttp(rules, limits),
    gitdir,
    // isomorphic-git takes no other scheme; the client for `git:` knows where to go.
    url: overGit ? url.replace('git:', 'http:') : url,
    remote: 'origin',
    tags: true,
    prune: true,
    pruneTags: true,
    onAuth: () => credentials ?? { cancel: true },
    onAuthFailure: () => ({ cancel: true }),
  });
  const head =
    defaultBranch && isRefName(defaultBranch) && defaultBranch.startsWith('refs/heads/')
      ? defaultBranch
      : 'refs/heads/main';
  return publishRefs(gitdir, join(directory, 'served.git'), head);
}

try {
  say({ kind: 'fetched', refs: await fetchOnce() });
} catch (error) {
  say({ kind: 'failed', problem: error instanceof Error ? error.message : String(error) });
}
