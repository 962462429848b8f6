import { invalid, quote } from '../../domain/errors.js';
import type { Repositories, ScriptFound } from '../../git/port.js';
import type { Wanted } from './wanted.js';

/**
 * Checks that the commit of a request has its script, for a job that would be made. What cannot be told now is let through: the worker
 * looks again.
 * @throws MemoirError INVALID_ARGUMENT: SCRIPT_NOT_FOUND naming near names, or SCRIPT_NOT_EXECUTABLE
 */
export async function checkScriptOf(
  { request: { repository, script }, commit }: Pick<Wanted, 'request' | 'commit'>,
  repositories: Pick<Repositories, 'script'>,
): Promise<void> {
  const found = await repositories.script(repository, commit, script);
  if (!found || found.kind === 'executable') return;
  const named = `script ${quote(script)}`;
  if (found.kind === 'missing') {
    const near = found.near.map((name) => quote(name)).join(', ');
    throw invalid(
      'script',
      'SCRIPT_NOT_FOUND',
      `${named} is not in commit ${commit} of repository ${quote(repository)}${near === '' ? '' : `; near it are ${near}`}`,
    );
  }
  throw invalid('script', 'SCRIPT_NOT_EXECUTABLE', `${named} in commit ${commit} ${why[found.kind]}`);
}

const why: Readonly<Record<Exclude<ScriptFound['kind'], 'executable' | 'missing'>, string>> = {
  directory: 'is a directory',
  submodule: 'is a submodule',
  file: 'is not marked as executable; run "git update-index --chmod=+x -- PATH" on it and commit that',
};
