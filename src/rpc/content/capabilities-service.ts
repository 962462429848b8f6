import { create } from '@bufbuild/protobuf';
import {
  type Capabilities,
  DigestFunction_Value,
  ServerCapabilitiesSchema,
  SymlinkAbsolutePathStrategy_Value,
} from '../../../gen/build/bazel/remote/execution/v2/remote_execution_pb.js';
import type { Implementation } from '../service.js';
import { checkAsked } from './raw-access.js';

/** Bytes of a batch that are not those of its blobs: names, and what a message has around them; half of small messages. */
const aroundBlobs = 256 * 1024;

/** Most bytes of the blobs of one batch, of what a request may have: an answer with as many is one that every client takes. */
export function batchLimit(maxRequestBytes: number): number {
  return Math.min(2 * 1024 * 1024, maxRequestBytes - Math.min(aroundBlobs, maxRequestBytes / 2));
}

/** build.bazel.remote.execution.v2.Capabilities. */
export function capabilitiesService(batchBytes: number): Implementation<typeof Capabilities> {
  const version = { major: 2, minor: 0, patch: 0 };
  const capabilities = create(ServerCapabilitiesSchema, {
    cacheCapabilities: {
      digestFunctions: [DigestFunction_Value.SHA256],
      actionCacheUpdateCapabilities: { updateEnabled: false },
      maxBatchTotalSizeBytes: BigInt(batchBytes),
      symlinkAbsolutePathStrategy: SymlinkAbsolutePathStrategy_Value.DISALLOWED,
    },
    lowApiVersion: version,
    highApiVersion: { major: 2, minor: 3, patch: 0 },
  });
  return {
    async getCapabilities({ instanceName }) {
      checkAsked(instanceName, DigestFunction_Value.UNKNOWN);
      return capabilities;
    },
  };
}
