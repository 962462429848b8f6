import type { CreateJobRequest } from '../../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { type CodeEntry, codeDigest } from '../../../domain/code/code-digest.js';
import { badCodePath, checkScriptInCode, normalCodePaths } from '../../../domain/code/code-paths.js';
import { invalid, quote } from '../../../domain/errors.js';
import type { CodeQuery } from '../../../git/code/code-at.js';
import type { Repositories } from '../../../git/port.js';
import { needsSharedRuns } from '../needs-shared-runs.js';

/** The code of a request that names code paths. */
export type WantedCode = {
  /** Normal code paths. */
  readonly paths: readonly string[];
  /** What the commit of the request has there; empty where that is not known, as of a decision that is taken again. */
  readonly entries: readonly CodeEntry[];
  readonly digest: string;
};

/** What code is looked up with. */
export type CodeContext = {
  readonly repositories: Pick<Repositories, 'code'>;
  readonly sharesRuns?: boolean;
  /** Normal code paths of requests that name none, by repository. */
  readonly codePaths?: ReadonlyMap<string, readonly string[]>;
};

/**
 * The code of a request at its commit; undefined if the request is for all of that.
 * @throws MemoirError INVALID_ARGUMENT BAD_CODE_PATH, CODE_LINK_LEAVES or CODE_EXPORT_SUBST naming the path, or SCRIPT_NOT_IN_CODE_PATHS; FAILED_PRECONDITION where log
 * format 4 may not be recorded; or as the repositories do
 */
export async function wantedCode(
  context: CodeContext,
  request: Pick<CreateJobRequest, 'repository' | 'script' | 'codePaths' | 'wholeCommit'>,
  commit: string,
): Promise<WantedCode | undefined> {
  const { repository, script, codePaths, wholeCommit } = request;
  const own = codePaths.length > 0;
  const paths = own ? normalCodePaths(codePaths) : wholeCommit ? undefined : context.codePaths?.get(repository);
  if (!paths) return undefined;
  if (!context.sharesRuns) throw needsSharedRuns('code_paths', { field: 'code_paths' });
  checkScriptInCode(
    script,
    paths,
    own ? 'code_paths' : `the code_paths that repository ${quote(repository)} is configured with`,
  );
  return { paths, ...(await codeOf(context.repositories, repository, { commit, paths, checked: true })) };
}

/**
 * What a commit has at code paths.
 * @throws MemoirError as `wantedCode`
 */
export async function codeOf(
  repositories: Pick<Repositories, 'code'>,
  repository: string,
  query: CodeQuery,
): Promise<Omit<WantedCode, 'paths'> & { readonly objectFormat: string }> {
  const code = await repositories.code(repository, query);
  if (code.kind === 'code') {
    const { entries, objectFormat } = code;
    return { entries, objectFormat, digest: codeDigest(code) };
  }
  if (code.reason === 'BAD_CODE_PATH') throw badCodePath('code_paths', code.what);
  throw invalid('code_paths', code.reason, `code_paths: ${code.what}`);
}

/** The different code digests that commits have at code paths; of those that have not all of them, none. */
export async function codeDigestsOf(
  repositories: Pick<Repositories, 'code'>,
  repository: string,
  commits: readonly string[],
  paths: readonly string[],
): Promise<readonly string[]> {
  const digests = new Set<string>();
  for (const commit of commits) {
    const code = await repositories.code(repository, { commit, paths, checked: false });
    if (code.kind === 'code') digests.add(codeDigest(code));
  }
  return [...digests];
}
