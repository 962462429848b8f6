import type { JsonObject } from '@bufbuild/protobuf';
import type { CreateJobRequest } from '../../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { invalid, quote } from '../../../domain/errors.js';
import { maybeInputs } from '../../../domain/inputs/input-text.js';
import { checkCanonicalisable } from '../../../domain/json.js';
import type { DecidingContext } from '../../context.js';
import { needsSharedRuns } from '../needs-shared-runs.js';

const field = 'unhashed_parameters';

/** Most bytes of them, as JSON. */
const mostBytes = 65_536;

/**
 * Checks what can be checked of a request's unhashed parameters by themselves.
 * @throws MemoirError INVALID_ARGUMENT naming the value: no canonical JSON, too large, a name that script_parameters has too, or an address
 */
export function checkUnhashed({ unhashedParameters, scriptParameters = {} }: CreateJobRequest): void {
  if (!unhashedParameters) return;
  checkCanonicalisable(field, unhashedParameters);
  const bytes = Buffer.byteLength(JSON.stringify(unhashedParameters));
  if (bytes > mostBytes) {
    throw invalid(field, 'TOO_LONG', `${field} has ${bytes} bytes as JSON, and ${mostBytes} is the limit`);
  }
  const twice = Object.keys(unhashedParameters).find((name) => Object.hasOwn(scriptParameters, name));
  if (twice !== undefined) {
    throw invalid(
      field,
      'BAD_PARAMETERS',
      `${field}: ${quote(twice)} is among script_parameters too, and is part of what is computed there`,
    );
  }
  const [address] = maybeInputs(unhashedParameters);
  if (address) {
    throw invalid(
      field,
      'UNHASHED_ADDRESS',
      `${field} at ${quote(address.pointer)}: sha256:${address.hash} names content, which is part of what is computed: give it in script_parameters`,
    );
  }
}

/**
 * Checks that the configuration lets the script have the unhashed parameters of a request.
 * @throws MemoirError INVALID_ARGUMENT naming the parameter and the setting; FAILED_PRECONDITION where they may not be recorded
 */
export function checkUnhashedNames(
  { unhashed, sharesRuns }: Pick<DecidingContext, 'unhashed' | 'sharesRuns'>,
  { repository, script }: Pick<CreateJobRequest, 'repository' | 'script'>,
  parameters: JsonObject,
): void {
  for (const name of Object.keys(parameters)) {
    if (unhashed?.(repository, script, name)) continue;
    throw invalid(
      field,
      'UNHASHED_NOT_ALLOWED',
      `${field}: ${quote(name)} of ${quote(script)} in ${quote(repository)} may not be left out of what is computed; an administrator allows it ` +
        'by an entry [[unhashed_parameters]] of the configuration, if it can change nothing of the output',
    );
  }
  if (!sharesRuns) throw needsSharedRuns(field, { field });
}
