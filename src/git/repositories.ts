import * as fs from 'node:fs';
import git from 'isomorphic-git';
import { invalid, MemoirError, quote } from '../domain/errors.js';
import type { Repositories } from './port.js';

/**
 * Opens the configured local repositories, bare or not.
 * @throws Error naming the repository and its path if there is none
 */
export async function openRepositories(
  config: Readonly<Record<string, { readonly path: string }>>,
): Promise<Repositories> {
  const gitdirs = new Map<string, string>();
  for (const [name, { path }] of Object.entries(config)) {
    const gitdir = [`${path}/.git`, path].find((dir) => fs.existsSync(`${dir}/objects`));
    if (gitdir === undefined) throw new Error(`repository ${quote(name)}: ${quote(path)} is not a git repository`);
    gitdirs.set(name, gitdir);
  }
  return {
    names: () => [...gitdirs.keys()].sort(),
    async resolve(repository, refspec, { field = 'script_version' } = {}) {
      const gitdir = gitdirs.get(repository);
      if (gitdir === undefined) {
        throw invalid('repository', 'UNKNOWN_REPOSITORY', `repository ${quote(repository)} is not configured`);
      }
      if (!/^[A-Za-z0-9_][A-Za-z0-9._/-]*$|^@$/.test(refspec) || refspec.includes('..')) {
        throw invalid(field, 'BAD_REFSPEC', `${field} ${quote(refspec)} does not name a commit`);
      }
      try {
        const oid = await oidOf(gitdir, refspec === '@' ? 'HEAD' : refspec);
        return (await git.readCommit({ fs, gitdir, oid })).oid;
      } catch (error) {
        if (!(error instanceof Error)) throw error;
        throw new MemoirError(
          'INVALID_ARGUMENT',
          'UNRESOLVABLE_REFSPEC',
          `${field} ${quote(refspec)} names no commit in repository ${quote(repository)}`,
          { field, cause: error },
        );
      }
    },
    async close() {},
  };
}

async function oidOf(gitdir: string, refspec: string): Promise<string> {
  if (/^[0-9a-f]{40}$/.test(refspec)) return refspec;
  try {
    return await git.resolveRef({ fs, gitdir, ref: refspec });
  } catch (error) {
    if (!/^[0-9a-f]{4,39}$/.test(refspec)) throw error;
    return git.expandOid({ fs, gitdir, oid: refspec });
  }
}
