import { create } from '@bufbuild/protobuf';
import { type Duration, durationFromMs } from '@bufbuild/protobuf/wkt';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import {
  AppendJobLogResponseSchema,
  ClaimJobResponseSchema,
  CompleteJobResponseSchema,
  FailJobResponseSchema,
  HeartbeatResponseSchema,
  type WorkerService,
} from '../../gen/memoir/worker/v1/worker_service_pb.js';
import { claimTokenDigest, makeClaimToken } from '../domain/claim-token.js';
import type { CompleteCommand, FailCommand } from '../domain/commands.js';
import { invalid, quote } from '../domain/errors.js';
import { interestedIn } from '../domain/job.js';
import { checkDuration } from '../jobs/check-duration.js';
import type { JobsContext } from '../jobs/context.js';
import { checkLength, checkRequired, checkUuid, textLimits } from '../jobs/limits.js';
import { checkOffer } from '../jobs/running/check-offer.js';
import { checkRan } from '../jobs/running/check-ran.js';
import type { Claimed, Claims } from '../jobs/running/claim-job.js';
import { endJob } from '../jobs/running/end-job.js';
import { faultOf } from '../jobs/running/fault-of-report.js';
import { heartbeat } from '../jobs/running/heartbeat.js';
import { imageHashOfJob } from '../jobs/running/image-hash.js';
import type { JobLogs, LogSize } from '../jobs/running/job-log.js';
import { appendUpload } from '../jobs/running/log-upload.js';
import type { SawWorker } from '../jobs/workers/seen-workers.js';
import type { RenewHolds } from './content/renew-holds.js';
import type { TakeResult } from './content/taken-result.js';
import type { Implementation } from './service.js';
import { tokenOf } from './tokens.js';

/** Length of a lease for which the worker named none, in milliseconds. */
const defaultLease = 60_000;
const leaseBounds = { least: 1_000, most: 3_600_000 };
const waitBounds = { least: 0, most: 300_000 };

const maxRepositories = 1_000;

/** memoir.worker.v1.WorkerService. */
export function workerService(
  context: JobsContext,
  claims: Claims,
  logs: JobLogs,
  saw: SawWorker,
  take: TakeResult,
  renew: RenewHolds,
): Implementation<typeof WorkerService> {
  const { streams, edge, readModel, sharesRuns } = context;

  return {
    async claimJob(request, call) {
      const leaseMs = leaseOf(request.lease) ?? defaultLease;
      const waitMs = request.wait ? checkDuration('wait', request.wait, waitBounds) : 0;
      const { uuid, repositories } = request;
      if (repositories.length > maxRepositories) {
        throw invalid('repositories', 'TOO_MANY', `repositories names ${repositories.length}, the limit is 1000`);
      }
      checkLength('worker_name', request.workerName, textLimits.workerName);
      checkLength('host', request.host, textLimits.workerName);
      checkLength('version', request.version, textLimits.workerName);
      if (request.offer) checkOffer('offer', request.offer);
      if (request.total) checkOffer('total', request.total);
      const given = claimTokenDigest(request.claimToken);
      const claimToken = given === undefined ? makeClaimToken(edge.uuid) : request.claimToken;
      const hold = {
        leaseMs,
        tokenDigest: given ?? (claimTokenDigest(claimToken) as string),
        tokenMade: given === undefined,
        workerName: request.workerName,
        offer: request.offer,
        total: request.total ?? request.offer,
      };
      const { workerName, host, version, offer, total = offer } = request;
      saw(call.caller, { workerName, host, version, total, repositories });
      const claimed: Claimed | undefined = uuid
        ? await claims.claim(call.caller, checkUuid('uuid', uuid), hold)
        : await claims.claimNext(
            call.caller,
            { ...hold, waitMs, repositories: [...new Set(repositories)] },
            call.signal,
          );
      return create(ClaimJobResponseSchema, {
        lease: durationFromMs(claimed?.record.leaseMs ?? leaseMs),
        drained: !claimed && claims.isDrained(call.caller, workerName),
        ...(claimed && { job: claimed.record.job, consistencyToken: tokenOf(readModel, claimed.position), claimToken }),
        ...(claimed && claimed.record.job.secrets.length > 0 && { interested: [...interestedIn(claimed.record)] }),
      });
    },

    async heartbeat(request, call) {
      const { caller } = call;
      const uuid = checkUuid('uuid', request.uuid);
      const { progress, progressMessage, tasksSummary } = request;
      if (progress !== undefined && !(progress >= 0 && progress <= 1)) {
        throw invalid('progress', 'OUT_OF_RANGE', `progress ${progress} is not between 0 and 1`);
      }
      checkLength('progress_message', progressMessage ?? '', textLimits.progressMessage);
      const waitMs = request.wait ? checkDuration('wait', request.wait, waitBounds) : 0;
      const command = {
        kind: 'heartbeat',
        worker: caller.principal,
        tokenDigest: claimTokenDigest(request.claimToken),
        leaseMs: leaseOf(request.lease),
        tasksSummary,
        progress,
        progressMessage,
        now: edge.now(),
      } as const;
      const record = await heartbeat(context, caller, uuid, command, waitMs, () => call.signal);
      const { job } = record;
      if (job.state === JobState.RUNNING) renew(record, command.tokenDigest);
      return create(HeartbeatResponseSchema, {
        state: job.state,
        cancelled: job.state === JobState.CANCELLED,
        ...(job.leaseExpiresAt && { leaseExpiresAt: job.leaseExpiresAt }),
      });
    },

    async appendJobLog(requests, { caller }) {
      return create(AppendJobLogResponseSchema, toSize(await appendUpload(logs, caller, requests)));
    },

    async completeJob(request, call) {
      const { caller } = call;
      const uuid = checkUuid('uuid', request.uuid);
      const { tasksSummary } = request;
      checkLength('output', request.output, textLimits.address);
      checkLength('log', request.log, textLimits.address);
      if (request.ran) checkRan(request.ran);
      const tokenDigest = claimTokenDigest(request.claimToken);
      const stated = sharesRuns && {
        ran: request.ran,
        imageHash: await imageHashOfJob(context, caller, uuid),
        chance: edge.random(),
      };
      const command = await take<CompleteCommand>(call, uuid, request, (result) => ({
        kind: 'complete',
        ...stated,
        worker: caller.principal,
        tokenDigest,
        ...result,
        tasksSummary,
        now: edge.now(),
      }));
      const { record, position, changed } = await endJob(streams, caller, uuid, command);
      if (changed) context.toCompare?.(record.job);
      return create(CompleteJobResponseSchema, { job: record.job, consistencyToken: tokenOf(readModel, position) });
    },

    async failJob(request, call) {
      const { caller } = call;
      const uuid = checkUuid('uuid', request.uuid);
      const { reason, message, tasksSummary } = request;
      checkReason(reason);
      checkLength('message', message, textLimits.failureMessage);
      checkLength('log', request.log, textLimits.address);
      checkLength('output', request.output, textLimits.address);
      if (request.ran) checkRan(request.ran);
      const tokenDigest = claimTokenDigest(request.claimToken);
      const command = await take<FailCommand>(call, uuid, request, (result) => ({
        kind: 'fail',
        fault: faultOf(request),
        ...result,
        givenBack: request.givenBack,
        ...(sharesRuns && { chance: edge.random(), ran: request.ran }),
        worker: caller.principal,
        tokenDigest,
        reason,
        message,
        tasksSummary,
        now: edge.now(),
      }));
      const { record, position } = await endJob(streams, caller, uuid, command);
      return create(FailJobResponseSchema, { job: record.job, consistencyToken: tokenOf(readModel, position) });
    },
  };
}

function toSize({ size, truncated }: LogSize) {
  return { size: BigInt(size), truncated };
}

function checkReason(reason: string): void {
  checkRequired('reason', reason, 64);
  if (/^[A-Z][A-Z0-9_]*$/.test(reason)) return;
  throw invalid('reason', 'BAD_REASON', `reason ${quote(reason)} is not a word of A to Z, 0 to 9 and "_"`);
}

function leaseOf(lease: Duration | undefined): number | undefined {
  return lease && checkDuration('lease', lease, leaseBounds);
}
