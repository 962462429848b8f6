import type { MessageInitShape } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import type { TasksSummary } from '../../gen/memoir/jobs/v1/job_pb.js';
import type { CompleteJobRequestSchema, FailJobRequestSchema } from '../../gen/memoir/worker/v1/worker_service_pb.js';
import { CallError } from '../rpc/call-error.js';
import { retrying } from './retry.js';
import { RunLost } from './run-failure.js';
import type { WorkerClient } from './worker-client.js';

/** How long a worker that has to end tries to report a failure, in milliseconds. */
const lastTryMs = 10_000;

const timeoutMs = 30_000;

/** The same of a report for which the server looks through a tree. */
const treeTimeoutMs = 600_000;

/** The server does not have all that a report names, as after a restart: what is missing is to be uploaded again. */
export class ContentIncomplete extends Error {
  override readonly name = 'ContentIncomplete';
}

type Tasks = { readonly tasksSummary: TasksSummary | undefined };
type Completion = Tasks &
  Required<Pick<MessageInitShape<typeof CompleteJobRequestSchema>, 'uuid' | 'claimToken'>> &
  Pick<MessageInitShape<typeof CompleteJobRequestSchema>, 'output' | 'log' | 'outputDigest' | 'logDigest' | 'ran'>;
type Failure = Tasks &
  Required<
    Pick<
      MessageInitShape<typeof FailJobRequestSchema>,
      'uuid' | 'claimToken' | 'reason' | 'message' | 'fault' | 'givenBack'
    >
  > &
  Pick<MessageInitShape<typeof FailJobRequestSchema>, 'output' | 'log' | 'outputDigest' | 'logDigest' | 'ran'>;

/**
 * Completes a job, trying again while the server is away.
 * @throws RunLost if the job is no longer held; ContentIncomplete if the server lacks something of what was uploaded; otherwise CallError, or the
 * signal's reason
 */
export async function reportCompletion(worker: WorkerClient, end: Completion, signal: AbortSignal): Promise<void> {
  await report(signal, () =>
    worker.completeJob(withTasks(end), { timeoutMs: end.outputDigest ? treeTimeoutMs : timeoutMs }),
  );
}

/** Ends an attempt without a result, as `reportCompletion` completes a job. A signal that is aborted already leaves it some seconds. */
export async function reportFailure(worker: WorkerClient, end: Failure, signal: AbortSignal): Promise<void> {
  const until = signal.aborted ? AbortSignal.timeout(lastTryMs) : signal;
  await report(until, () =>
    worker.failJob(withTasks(end), { timeoutMs: end.outputDigest ? treeTimeoutMs : timeoutMs }),
  );
}

function withTasks<T extends Tasks>({ tasksSummary, ...rest }: T) {
  return { ...rest, ...(tasksSummary && { tasksSummary }) };
}

/** A report whose answer got lost is made again: the server answers it as the first time. */
async function report(signal: AbortSignal, call: () => Promise<unknown>): Promise<void> {
  await retrying(signal, async () => {
    try {
      await call();
    } catch (error) {
      if (error instanceof CallError && error.reason === 'CONTENT_INCOMPLETE')
        throw new ContentIncomplete(error.message);
      // A report that cannot be recorded has failed the job.
      const ended =
        error instanceof CallError && (error.code === status.FAILED_PRECONDITION || error.reason === 'EVENT_TOO_LARGE');
      throw ended ? new RunLost(error.message) : error;
    }
  });
}
