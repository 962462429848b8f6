import { create } from '@bufbuild/protobuf';
import { type Attempt as AttemptMessage, AttemptSchema } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import type { Attempt } from '../attempt.js';

/** The attempt as clients are told of it. */
export function attemptMessage({ number, worker, workerName, startedAt, ended }: Attempt): AttemptMessage {
  return create(AttemptSchema, {
    number,
    worker,
    workerName,
    ...(startedAt && { startedAt }),
    ...(ended && {
      ...(ended.at && { endedAt: ended.at }),
      fault: ended.fault,
      reason: ended.reason,
      message: ended.message,
      log: ended.log,
      output: ended.output,
      ...(ended.logDigest && { logDigest: ended.logDigest }),
      ...(ended.outputDigest && { outputDigest: ended.outputDigest }),
      ...(ended.ran && { ran: ended.ran }),
    }),
  });
}
