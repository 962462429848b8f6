import { DigestFunction_Value } from '../../../gen/build/bazel/remote/execution/v2/remote_execution_pb.js';
import { unknownInstance } from '../../content/resource-name.js';
import { MemoirError, quote } from '../../domain/errors.js';
import type { CallContext } from '../call.js';

/**
 * Lets those through who may have bytes by their address alone: an address is a name, and no permission to have what it names.
 * @throws MemoirError PERMISSION_DENIED, the same whatever is there
 */
export function checkRawAccess({ caller }: CallContext, access = caller.access): void {
  if (access.worksAll) return;
  throw new MemoirError(
    'PERMISSION_DENIED',
    'NO_RAW_CONTENT',
    `${quote(caller.principal)} may not read or write content by its address: that takes the role worker in every repository`,
  );
}

/** @throws MemoirError INVALID_ARGUMENT if another instance is asked for, or another hash function */
export function checkAsked(instance: string, digestFunction: DigestFunction_Value): void {
  if (instance !== '') throw unknownInstance('instance_name', instance);
  if (digestFunction === DigestFunction_Value.UNKNOWN || digestFunction === DigestFunction_Value.SHA256) return;
  const name = DigestFunction_Value[digestFunction] ?? String(digestFunction);
  throw new MemoirError(
    'INVALID_ARGUMENT',
    'NO_SUCH_DIGEST_FUNCTION',
    `digest_function ${name}: content is named by SHA256 here`,
    {
      field: 'digest_function',
    },
  );
}
