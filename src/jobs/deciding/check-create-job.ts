import type { Filter } from '../../../gen/memoir/jobs/v1/filter_pb.js';
import type { RuntimeConstraints } from '../../../gen/memoir/jobs/v1/job_pb.js';
import type { CreateJobRequest } from '../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { checkScriptInCode, normalCodePaths } from '../../domain/code/code-paths.js';
import { invalid, quote } from '../../domain/errors.js';
import { parseFilters } from '../../domain/filters/parse-filters.js';
import { checkCanonicalisable } from '../../domain/json.js';
import { bubblewrap } from '../../domain/ran/ran-in.js';
import { checkDuration } from '../check-duration.js';
import { checkComponents, checkLabels, checkLength, checkRequired, textLimits } from '../limits.js';
import { checkPlatform } from '../running/check-offer.js';
import { checkLimits, checkRetry } from './check-retry.js';
import { checkInputs } from './inputs.js';
import { checkSuperseding } from './options/superseding.js';
import { checkUnhashed } from './options/unhashed-parameters.js';
import { checkSecrets } from './secrets.js';

/** Longest time that an output can be asked to stay, in milliseconds: 100 years. */
const longestTtl = 36_525 * 86_400_000;

/** Most exclude_script_versions of a request. */
const maxExcludes = 1_000;

/**
 * Checks what can be checked of a request by itself.
 * @throws MemoirError INVALID_ARGUMENT naming the first field that is wrong and its value
 */
export function checkCreateJob(request: CreateJobRequest): void {
  checkRequired('repository', request.repository, textLimits.repository);
  checkScript(request.script);
  checkRequired('script_version', request.scriptVersion, textLimits.refspec);
  if (request.codePaths.length > 0) checkCodePaths(request);
  checkLength('submit_id', request.submitId, textLimits.submitId);
  checkLength('description', request.description, textLimits.description);
  checkComponents('components', request.components);
  checkLabels('labels', request.labels);
  checkLabels('required_labels', request.requiredLabels);
  checkAcceptance(request);
  if (request.scriptParameters) checkCanonicalisable('script_parameters', request.scriptParameters);
  if (request.runtimeConstraints) checkConstraints(request.runtimeConstraints);
  if (request.retry) checkRetry(request.retry);
  if (request.limits) checkLimits(request.limits);
  if (request.inputs.length > 0) checkInputs(request);
  if (request.secrets.length > 0) checkSecrets(request.secrets);
  if (request.supersede) checkSuperseding(request);
  if (request.unhashedParameters) checkUnhashed(request);
  if (request.outputTtl) checkDuration('output_ttl', request.outputTtl, { least: 0, most: longestTtl });
}

function checkCodePaths({ script, codePaths, wholeCommit }: CreateJobRequest): void {
  checkScriptInCode(script, normalCodePaths(codePaths));
  if (wholeCommit) {
    throw invalid('whole_commit', 'BAD_OPTIONS', 'whole_commit and code_paths cannot be given together');
  }
}

function checkAcceptance(request: CreateJobRequest): void {
  const { minimumScriptVersion, excludeScriptVersions, filters, maxHeartbeatAge, maxResultAge } = request;
  checkLength('minimum_script_version', minimumScriptVersion, textLimits.refspec);
  if (excludeScriptVersions.length > maxExcludes) {
    const count = excludeScriptVersions.length;
    throw invalid(
      'exclude_script_versions',
      'TOO_MANY',
      `exclude_script_versions names ${count}, and ${maxExcludes} is the limit`,
    );
  }
  for (const [i, refspec] of excludeScriptVersions.entries()) {
    checkRequired(`exclude_script_versions[${i}]`, refspec, textLimits.refspec);
  }
  const other = minimumScriptVersion !== '' ? 'minimum_script_version' : 'exclude_script_versions';
  if (filters.length > 0 && (minimumScriptVersion !== '' || excludeScriptVersions.length > 0)) {
    throw invalid('filters', 'FILTERS_WITH_RANGE', `filters and ${other} cannot be given together`);
  }
  if (filters.length > 0) checkFilters(filters);
  if (maxHeartbeatAge)
    checkDuration('max_heartbeat_age', maxHeartbeatAge, { least: 0, most: Number.POSITIVE_INFINITY });
  if (maxResultAge) checkDuration('max_result_age', maxResultAge, { least: 0, most: Number.POSITIVE_INFINITY });
}

function checkFilters(filters: readonly Filter[]): void {
  parseFilters(filters);
  for (const name of ['repository', 'script']) {
    if (filters.some(({ attribute }) => attribute === name)) continue;
    throw invalid(
      'filters',
      'FILTER_NEEDS_ANOTHER',
      `filters of a job to be created need one on ${name}, and none of the ${filters.length} names it`,
    );
  }
}

function checkScript(script: string): void {
  checkRequired('script', script, textLimits.script);
  const parts = script.split('/');
  if (script.includes('\0') || parts.some((part) => part === '' || part === '.' || part === '..')) {
    throw invalid(
      'script',
      'BAD_SCRIPT',
      `script ${quote(script)} is not the path of a file inside the repository, such as "bin/align.py"`,
    );
  }
}

function checkConstraints(constraints: RuntimeConstraints): void {
  const { dockerImage, dockerImageTag, arvadosSdkVersion, minNodes, maxNodes, platform, sandbox } = constraints;
  checkLength('runtime_constraints.docker_image', dockerImage, textLimits.image);
  checkLength('runtime_constraints.docker_image_tag', dockerImageTag, textLimits.image);
  checkLength('runtime_constraints.arvados_sdk_version', arvadosSdkVersion, textLimits.refspec);
  if (dockerImageTag !== '' && dockerImage === '') {
    throw needsImage('runtime_constraints.docker_image_tag', dockerImageTag);
  }
  if (arvadosSdkVersion !== '' && dockerImage === '') {
    throw needsImage('runtime_constraints.arvados_sdk_version', arvadosSdkVersion);
  }
  checkPlatform('runtime_constraints.platform', platform);
  if (platform !== '' && dockerImage === '') throw needsImage('runtime_constraints.platform', platform);
  if (sandbox !== '' && sandbox !== bubblewrap) {
    throw invalid(
      'runtime_constraints.sandbox',
      'BAD_CONSTRAINT',
      `runtime_constraints.sandbox ${quote(sandbox)} is not known; ${quote(bubblewrap)} is the one that can be asked for`,
    );
  }
  if (minNodes !== undefined && maxNodes !== undefined && minNodes > maxNodes) {
    throw invalid(
      'runtime_constraints.min_nodes',
      'BAD_CONSTRAINT',
      `runtime_constraints.min_nodes ${minNodes} is more than max_nodes ${maxNodes}`,
    );
  }
}

function needsImage(field: string, value: string) {
  return invalid(field, 'NEEDS_DOCKER_IMAGE', `${field} ${quote(value)} needs runtime_constraints.docker_image`);
}
