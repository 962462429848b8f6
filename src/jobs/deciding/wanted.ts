import { durationMs } from '@bufbuild/protobuf/wkt';
import type { CreateJobRequest } from '../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { codePathsText } from '../../domain/code/code-paths.js';
import { type ComputationDigests, computationDigests } from '../../domain/computation.js';
import { invalid, quote } from '../../domain/errors.js';
import { parseFilters } from '../../domain/filters/parse-filters.js';
import { type CandidateFacts, labelsText, type ReuseTerms } from '../../domain/reuse.js';
import { rulesBefore, usedRules } from '../../domain/rule-sets.js';
import type { Secret } from '../../domain/secrets/grants.js';
import type { Repositories } from '../../git/port.js';
import type { Caller } from '../caller.js';
import type { DecidingContext } from '../context.js';
import type { Images } from '../ports/images.js';
import { type AcceptedCommits, acceptedCommits } from './accepted-commits.js';
import { codeDigestsOf, type WantedCode, wantedCode } from './code/wanted-code.js';
import { type ResolvedFilters, resolveSets } from './filter-sets.js';
import { type NamedInputs, namedInputs } from './inputs.js';
import { checkMaySupersede } from './options/superseding.js';
import { checkUnhashedNames } from './options/unhashed-parameters.js';
import { note, type ResolvedName } from './resolved-name.js';
import { wantedSecrets } from './secrets.js';

/** A request with everything resolved that does not change while its decision is taken. */
export type Wanted = {
  readonly caller: Caller;
  readonly request: CreateJobRequest;
  /** The commit that script_version names. */
  readonly commit: string;
  readonly dockerImageLocator: string;
  readonly arvadosSdkVersion: string;
  readonly digests: ComputationDigests;
  /** The request's filters, if it has any; they are what candidates are told apart by. */
  readonly filters?: ResolvedFilters;
  readonly terms: ReuseTerms;
  /** Secrets that it asks for; absent for none. */
  readonly secrets?: readonly Secret[];
  /** What of the parameters may be inputs; absent if nothing may, or nothing is looked at for that. */
  readonly inputs?: NamedInputs;
  /** The code that the job is to see; absent for the whole commit. */
  readonly code?: WantedCode;
  readonly resolutions: readonly ResolvedName[];
};

/** What requests are resolved with. */
export type ResolvingContext = Pick<
  DecidingContext,
  | 'repositories'
  | 'images'
  | 'edge'
  | 'lists'
  | 'reuseIfOutputsDiffer'
  | 'sharesRuns'
  | 'ownUnfinishedOnly'
  | 'trustUnstatedImages'
  | 'codePaths'
  | 'grants'
  | 'submittersSupersede'
  | 'unhashed'
>;

/** Name of the repository in which arvados_sdk_version is resolved. */
const sdkRepository = 'arvados';

/**
 * Resolves every refspec and image of a request that `checkCreateJob` let through.
 * @throws MemoirError INVALID_ARGUMENT naming the field and the value that cannot be resolved, or what the repositories throw
 */
export async function resolveRequest(
  context: ResolvingContext,
  caller: Caller,
  request: CreateJobRequest,
): Promise<Wanted> {
  const { images, edge } = context;
  const repositories = context.repositories.askedBy(caller);
  const { repository, script, scriptVersion, scriptParameters = {} } = request;
  if (request.supersede) checkMaySupersede(context, caller, repository);
  if (request.unhashedParameters) checkUnhashedNames(context, request, request.unhashedParameters);
  const resolutions: ResolvedName[] = [];
  const commits = await acceptedCommits(repositories, request, resolutions);
  // What most requests do not have is not waited for: this is the way of every answer.
  const {
    dockerImage = '',
    arvadosSdkVersion: sdk = '',
    platform = '',
    sandbox = '',
  } = request.runtimeConstraints ?? {};
  const arvadosSdkVersion = sdk === '' ? '' : await acceptedSdk(context.repositories, caller, sdk, resolutions);
  const code =
    request.codePaths.length > 0 || context.codePaths?.has(repository)
      ? await wantedCode(context, request, commits.commit)
      : undefined;
  const { mayNameContent, ...digests } = computationDigests({ repository, script, scriptParameters });
  const filtered =
    request.filters.length === 0
      ? undefined
      : await resolveSets({ ...context, repositories }, caller, parseFilters(request.filters), {
          end: commits.commit,
          parametersDigest: digests.parameters,
          ...(code && {
            code: {
              digest: code.digest,
              digestsOf: (place: string, named: readonly string[]) =>
                codeDigestsOf(context.repositories, place, named, code.paths),
            },
          }),
        });
  // Last, since it may record what a registry says, and nothing of an invalid request is recorded.
  const image = dockerImage === '' ? images.default() : acceptedImage(images, request, resolutions);
  const { locator: dockerImageLocator, name } = image === undefined ? noImage : await image;
  if (name !== undefined) note(resolutions, 'default_docker_image', name, dockerImageLocator);
  const { maxHeartbeatAge, maxResultAge } = request;
  const terms: Mutable<ReuseTerms<CandidateFacts>> = {
    rules: context.sharesRuns ? usedRules : rulesBefore,
    principal: caller.principal,
    acceptsCommit: commits.accepts,
    acceptedCommits: commits.description,
    dockerImageLocator,
    arvadosSdkVersion,
    leaveLfsPointers: request.leaveLfsPointers,
    leaveSubmodules: request.leaveSubmodules,
    reuseIfOutputsDiffer: context.reuseIfOutputsDiffer,
  };
  const requiredLabels = labelsText(request.requiredLabels);
  if (requiredLabels !== '') terms.requiredLabels = requiredLabels;
  if (context.sharesRuns && context.ownUnfinishedOnly) terms.ownUnfinishedOnly = true;
  if (context.sharesRuns && !context.trustUnstatedImages) terms.imagesStated = true;
  const secrets = request.secrets.length === 0 ? undefined : wantedSecrets(context, caller, request);
  if (context.sharesRuns) terms.noChecks = true;
  if (context.sharesRuns) terms.secrets = secrets?.text ?? '';
  if (secrets?.ungranted) terms.secretsUngranted = true;
  if (platform !== '') terms.platform = platform;
  if (sandbox !== '') terms.sandbox = sandbox;
  if (code) {
    terms.codePaths = codePathsText(code.paths);
    terms.codeDigest = code.digest;
    if (commits.excluded) {
      terms.excludedCode = new Set(await codeDigestsOf(context.repositories, repository, commits.excluded, code.paths));
    }
    if (request.codePaths.length === 0) note(resolutions, 'default_code_paths', code.paths.join(', '), code.digest);
  }
  if (commits.exact && !filtered && !maxHeartbeatAge && !maxResultAge && !request.supersede) {
    const key = keyOf(caller, request, commits, dockerImageLocator, arvadosSdkVersion);
    const ofCode = code ? `${key} ${terms.codePaths} ${code.digest}` : key;
    terms.key = secrets ? `${ofCode} secrets ${secrets.text} ${secrets.ungranted}` : ofCode;
  }
  if (filtered) terms.failedFilter = (candidate) => candidate.failedFilter;
  // No heartbeat was before 1970, and what is recorded is a time of the years that a Timestamp has.
  if (maxHeartbeatAge) terms.oldestHeartbeat = Math.max(0, edge.now() - durationMs(maxHeartbeatAge));
  if (maxResultAge) terms.oldestResult = Math.max(0, edge.now() - durationMs(maxResultAge));
  if (request.supersede) terms.supersede = true;
  if (request.requireOutput) terms.outputRequired = true;
  if (commits.commit !== scriptVersion)
    resolutions.unshift({ field: 'script_version', given: scriptVersion, resolved: commits.commit });
  if (filtered) resolutions.push(...filtered.resolutions);
  const { commit } = commits;
  const wanted = { caller, request, commit, dockerImageLocator, arvadosSdkVersion, digests, terms, resolutions };
  const inputs = mayNameContent && context.sharesRuns ? namedInputs(request) : undefined;
  if (!filtered && !inputs && !code && !secrets) return wanted;
  const more = { ...(filtered && { filters: filtered }), ...(inputs && { inputs }), ...(code && { code }) };
  return { ...wanted, ...more, ...(secrets && { secrets: secrets.those }) };
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** Commit of the SDK that a job asks for. Who may not know of the SDK's repository is told that there is none. */
async function acceptedSdk(
  repositories: Repositories,
  caller: Caller,
  refspec: string,
  resolutions: ResolvedName[],
): Promise<string> {
  const field = 'runtime_constraints.arvados_sdk_version';
  if (!repositories.names().includes(sdkRepository) || !caller.access.knows(sdkRepository)) {
    throw invalid(
      field,
      'UNKNOWN_REPOSITORY',
      `${field} ${quote(refspec)} cannot be resolved: no repository ${quote(sdkRepository)} is configured`,
    );
  }
  const commit = await repositories.askedBy(caller).resolve(sdkRepository, refspec, { field });
  note(resolutions, field, refspec, commit);
  return commit;
}

/** An image as a job has it; `name` is the server's, where the job names none. */
type AcceptedImage = { readonly locator: string; readonly name?: string };

const noImage: AcceptedImage = { locator: '' };

/** The image that a job names. */
async function acceptedImage(
  images: Images,
  { runtimeConstraints }: CreateJobRequest,
  resolutions: ResolvedName[],
): Promise<AcceptedImage> {
  const { dockerImage = '', dockerImageTag = '' } = runtimeConstraints ?? {};
  const locator = await images.resolve(dockerImage, dockerImageTag, 'runtime_constraints');
  const given = dockerImageTag === '' ? dockerImage : `${dockerImage} with tag ${dockerImageTag}`;
  note(resolutions, 'runtime_constraints.docker_image', given, locator);
  return { locator };
}

function keyOf(
  { principal }: Caller,
  request: CreateJobRequest,
  { commit }: AcceptedCommits,
  dockerImageLocator: string,
  arvadosSdkVersion: string,
): string {
  const { leaveLfsPointers, leaveSubmodules, requireOutput } = request;
  const { platform = '', sandbox = '' } = request.runtimeConstraints ?? {};
  const asked = [leaveLfsPointers, leaveSubmodules, requireOutput, labelsText(request.requiredLabels)];
  return JSON.stringify([principal, commit, dockerImageLocator, arvadosSdkVersion, ...asked, platform, sandbox]);
}
