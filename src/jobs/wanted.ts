import { durationMs } from '@bufbuild/protobuf/wkt';
import type { CreateJobRequest } from '../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { type ComputationDigests, computationDigests } from '../domain/computation.js';
import type { CandidateFacts, ReuseTerms } from '../domain/reuse.js';
import type { Repositories } from '../git/port.js';
import type { Caller, JobsContext } from './context.js';

/** What a name in the request resolved to. */
export type ResolvedName = { readonly field: string; readonly given: string; readonly resolved: string };

/** A request with everything resolved that does not change while its decision is taken. */
export type Wanted = {
  readonly caller: Caller;
  readonly request: CreateJobRequest;
  /** The commit that script_version names. */
  readonly commit: string;
  readonly dockerImageLocator: string;
  readonly arvadosSdkVersion: string;
  readonly digests: ComputationDigests;
  readonly terms: ReuseTerms;
  readonly resolutions: readonly ResolvedName[];
};

/** Name of the repository in which arvados_sdk_version is resolved. */
const sdkRepository = 'arvados';

/**
 * Resolves every refspec and image of a request that `checkCreateJob` let through.
 * @throws MemoirError INVALID_ARGUMENT naming the field and the value that cannot be resolved, or what the repositories throw
 */
export async function resolveRequest(context: JobsContext, caller: Caller, request: CreateJobRequest): Promise<Wanted> {
  const { repositories, images, edge } = context;
  const { repository, script, scriptVersion, scriptParameters = {}, runtimeConstraints } = request;
  const resolutions: ResolvedName[] = [];
  const commits = await acceptedCommits(repositories, request, resolutions);
  const image = runtimeConstraints?.dockerImage ?? '';
  const dockerImageLocator =
    image === '' ? '' : await images.resolve(image, runtimeConstraints?.dockerImageTag ?? '', 'runtime_constraints');
  if (image !== '') note(resolutions, 'runtime_constraints.docker_image', image, dockerImageLocator);
  const sdk = runtimeConstraints?.arvadosSdkVersion ?? '';
  const sdkField = 'runtime_constraints.arvados_sdk_version';
  const arvadosSdkVersion = sdk === '' ? '' : await repositories.resolve(sdkRepository, sdk, { field: sdkField });
  if (sdk !== '') note(resolutions, sdkField, sdk, arvadosSdkVersion);
  const { maxHeartbeatAge } = request;
  const terms: ReuseTerms<CandidateFacts> = {
    principal: caller.principal,
    acceptsCommit: commits.accepts,
    acceptedCommits: commits.description,
    dockerImageLocator,
    arvadosSdkVersion,
    reuseIfOutputsDiffer: context.reuseIfOutputsDiffer,
    ...(maxHeartbeatAge && { oldestHeartbeat: edge.now() - durationMs(maxHeartbeatAge) }),
  };
  if (commits.commit !== scriptVersion)
    resolutions.unshift({ field: 'script_version', given: scriptVersion, resolved: commits.commit });
  const digests = computationDigests({ repository, script, scriptParameters });
  return {
    caller,
    request,
    commit: commits.commit,
    dockerImageLocator,
    arvadosSdkVersion,
    digests,
    terms,
    resolutions,
  };
}

type Accepted = {
  readonly commit: string;
  readonly accepts: (commit: string) => boolean;
  readonly description: string;
};

async function acceptedCommits(
  repositories: Repositories,
  request: CreateJobRequest,
  resolutions: ResolvedName[],
): Promise<Accepted> {
  const { repository, scriptVersion, minimumScriptVersion, excludeScriptVersions } = request;
  if (minimumScriptVersion === '' && excludeScriptVersions.length === 0) {
    const commit = await repositories.resolve(repository, scriptVersion);
    return { commit, accepts: (candidate) => candidate === commit, description: commit };
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
    accepts: (candidate) => range.has(candidate),
    description: `any of ${range.size} commits from ${from}${range.end}${less}`.replace('from to', 'to'),
  };
}

function note(resolutions: ResolvedName[], field: string, given: string, resolved: string): void {
  resolutions.push({ field, given, resolved });
}
