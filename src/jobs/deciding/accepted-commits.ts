import type { CreateJobRequest } from '../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import type { Repositories } from '../../git/port.js';
import { note, type ResolvedName } from './resolved-name.js';

/** The commits that a request accepts. */
export type AcceptedCommits = {
  /** The one that script_version names. */
  readonly commit: string;
  /** Whether no other commit is accepted. */
  readonly exact: boolean;
  readonly accepts: (commit: string) => boolean;
  readonly description: string;
  /** The commits that the request excludes, as its refspecs named them; absent for none. */
  readonly excluded?: readonly string[];
};

/** What a request says of the commits that it accepts. */
export type CommitsRequest = Pick<
  CreateJobRequest,
  'repository' | 'scriptVersion' | 'minimumScriptVersion' | 'excludeScriptVersions'
>;

/**
 * The commits that a request accepts, with what its refspecs named added to `resolutions`.
 * @throws MemoirError as the repositories do
 */
export async function acceptedCommits(
  repositories: Pick<Repositories, 'resolve' | 'range'>,
  request: CommitsRequest,
  resolutions: ResolvedName[],
): Promise<AcceptedCommits> {
  const { repository, scriptVersion, minimumScriptVersion, excludeScriptVersions } = request;
  if (minimumScriptVersion === '' && excludeScriptVersions.length === 0) {
    const commit = await repositories.resolve(repository, scriptVersion);
    return { commit, exact: true, accepts: (candidate) => candidate === commit, description: commit };
  }
  const excludeFields = excludeScriptVersions.map((refspec, i) => ({
    refspec,
    field: `exclude_script_versions[${i}]`,
  }));
  const range = await repositories.range(repository, {
    end: { refspec: scriptVersion, field: 'script_version' },
    ...(minimumScriptVersion !== '' && {
      minimum: { refspec: minimumScriptVersion, field: 'minimum_script_version' },
    }),
    exclude: excludeFields,
  });
  if (range.minimum !== undefined) note(resolutions, 'minimum_script_version', minimumScriptVersion, range.minimum);
  for (const [i, { refspec, field }] of excludeFields.entries()) {
    note(resolutions, field, refspec, range.excluded[i] as string);
  }
  const from = range.minimum === undefined ? '' : `${range.minimum} to `;
  const less = range.excluded.length === 0 ? '' : `, less ${range.excluded.length} excluded`;
  return {
    commit: range.end,
    exact: false,
    accepts: (candidate) => range.has(candidate),
    excluded: range.excluded,
    description: `any of ${range.size} commits from ${from}${range.end}${less}`.replace('from to', 'to'),
  };
}
