import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { Logger } from 'pino';
import {
  CancelJobResponseSchema,
  CancelJobsResponseSchema,
  CheckJobResponseSchema,
  type CreateJobRequest,
  type CreateJobResponse,
  CreateJobResponseSchema,
  CreateJobsResponseSchema,
  DeleteJobResponseSchema,
  DeleteJobsResponseSchema,
  ExplainReuseResponseSchema,
  GetChecksResponseSchema,
  GetJobResponseSchema,
  GetQueueResponseSchema,
  GetQueueSizeResponseSchema,
  type JobsService,
  ListJobsResponseSchema,
  RetryJobResponseSchema,
  RetryJobsResponseSchema,
  TailJobLogResponseSchema,
  UpdateJobResponseSchema,
  UpdateJobsResponseSchema,
  WatchJobResponseSchema,
} from '../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { jobFromRow } from '../../../projections/read-model/jobs.js';
import { invalid, quote } from '../../domain/errors.js';
import { isFinished } from '../../domain/job.js';
import { type Position, start } from '../../eventstore/port.js';
import { positionOf } from '../../history/as-of.js';
import type { Caller } from '../../jobs/caller.js';
import type { CheckJob } from '../../jobs/checks/check-job.js';
import { type GetChecks, mostTold } from '../../jobs/checks/get-checks.js';
import type { CompareJobs } from '../../jobs/comparing/compare-jobs.js';
import type { JobsContext } from '../../jobs/context.js';
import { checkBounds } from '../../jobs/deciding/check-bounds.js';
import { checkCreateJob } from '../../jobs/deciding/check-create-job.js';
import type { Answer, CreateJob } from '../../jobs/deciding/create-job.js';
import { explainReuse } from '../../jobs/deciding/explain-reuse.js';
import type { ExplainReuseAsOf } from '../../jobs/deciding/explain-reuse-as-of.js';
import type { FindReusable } from '../../jobs/deciding/find-reusable.js';
import { inputsOf } from '../../jobs/deciding/inputs.js';
import { jobRetrier } from '../../jobs/deciding/retry-job.js';
import { checkUuid } from '../../jobs/limits.js';
import { jobAsOf } from '../../jobs/reading/job-as-of.js';
import { keepingOf } from '../../jobs/reading/keeping.js';
import { nearMisses } from '../../jobs/reading/near-misses.js';
import { checkKnows, checkSubmits, jobNotFound, mayRead, uuidFor } from '../../jobs/reading/permit.js';
import { watchJob } from '../../jobs/reading/watch-job.js';
import { cancelJob, checkCancellation } from '../../jobs/running/cancel-job.js';
import type { JobLogs } from '../../jobs/running/job-log.js';
import { checkWhose, deleteJob, updateJob } from '../../jobs/running/steer-job.js';
import { waitingFor } from '../../jobs/workers/waiting-for.js';
import type { CallContext } from '../call.js';
import type { Implementation } from '../service.js';
import { meantForCaller } from '../status.js';
import { seeOwn, seeToken, tokenOf } from '../tokens.js';
import { comparisonOf } from './compare-jobs.js';
import { createJobs } from './create-jobs.js';
import { getLineage, lineageOptions } from './get-lineage.js';
import { getSavings } from './get-savings.js';
import { listOfJobs, listOfQueue } from './list-jobs.js';
import { nearMissMessages } from './near-misses.js';
import { steerJobs } from './steer-jobs.js';
import { updateCommand } from './update-command.js';

/** Most second runs of one call, and most differences that one is told with: at once, and unasked. */
const most = { runs: 10, differences: 1_000, unasked: 20 };

/** What jobs are run again by to compare what they give, and compared with others. */
export type Checks = {
  readonly checkJob: CheckJob;
  readonly getChecks: GetChecks;
  readonly compareJobs: CompareJobs;
};

/** memoir.jobs.v1.JobsService. */
export function jobsService(
  context: JobsContext,
  createJob: CreateJob,
  find: FindReusable,
  explainThen: ExplainReuseAsOf,
  { checkJob, getChecks, compareJobs }: Checks,
  logs: JobLogs,
  logger: Logger,
): Implementation<typeof JobsService> {
  const { store, readModel, history, streams, written, edge } = context;
  const waitsFor = waitingFor(context);
  const retryJob = jobRetrier(context, find);
  const see = (token: string, call: CallContext) => seeToken(token, store, readModel, call);

  const meantOf = (call: CallContext) => (error: unknown) => meantForCaller(error, call.caller.requestId, logger);
  const tokenOfMany = (position: Position) => (position === start ? '' : tokenOf(readModel, position));

  async function answerOne(caller: Caller, request: CreateJobRequest): Promise<Answer> {
    checkCreateJob(request);
    checkSubmits(caller, request.repository);
    checkBounds(caller, request);
    return createJob(caller, request);
  }

  return {
    async createJob(request, { caller }) {
      const { job, reused, decision, position } = await answerOne(caller, request);
      const consistencyToken = tokenOf(readModel, position);
      const { typeName: $typeName } = CreateJobResponseSchema;
      const answer: CreateJobResponse = { $typeName, job, reused, decision, consistencyToken, nearMisses: [] };
      if (reused || !request.explainMisses) return answer;
      const near = nearMissMessages(await nearMisses(readModel, context.repositories, caller.access, job));
      return create(CreateJobResponseSchema, { job, reused, decision, consistencyToken, nearMisses: near });
    },

    async createJobs({ requests }, call) {
      const { results, position } = await createJobs(requests, call, answerOne, meantOf(call));
      return create(CreateJobsResponseSchema, { results: [...results], consistencyToken: tokenOfMany(position) });
    },

    async explainReuse({ request, maxCandidates, asOf }, { caller, signal }) {
      if (!request) throw invalid('request', 'REQUIRED', 'request is required');
      if (maxCandidates > 10_000) {
        throw invalid('max_candidates', 'OUT_OF_RANGE', `max_candidates ${maxCandidates} is more than 10000`);
      }
      checkCreateJob(request);
      checkKnows(caller, request.repository);
      const limit = maxCandidates || 100;
      const explanation = asOf
        ? await explainThen(await positionOf(context, asOf, signal), caller, request, limit)
        : await explainReuse(context, find, caller, request, limit, {
            checkInputs: (...of) => inputsOf(context, ...of),
            nearMisses: (...of) => nearMisses(readModel, context.repositories, ...of),
          });
      const { nearMisses: near = [], ...rest } = explanation;
      return create(ExplainReuseResponseSchema, { ...rest, nearMisses: nearMissMessages(near) });
    },

    async getJob({ uuid, consistencyToken, asOf }, call) {
      const wanted = checkUuid('uuid', uuid);
      await see(consistencyToken, call);
      const { caller } = call;
      const visible = uuidFor(caller.access, readModel, wanted);
      if (asOf) {
        const past = history.at(await positionOf(context, asOf, call.signal)).jobs;
        const then = await jobAsOf(store, past, visible);
        if (!then || !mayRead(caller.access, then)) throw jobNotFound(wanted);
        return create(GetJobResponseSchema, { job: then });
      }
      const row = written.hasAllOf(caller.principal) ? readModel.jobs.get(visible) : undefined;
      // What the read model does not have yet is in the stream: who wrote reads what was written.
      const job = row
        ? {
            ...jobFromRow(row),
            attempts: readModel.jobs.attempts(row),
            interests: readModel.jobs.interests(row),
          }
        : (await streams.read(caller, wanted)).job;
      if (!mayRead(caller.access, job)) throw jobNotFound(wanted);
      if (row) job.damaged = await context.damaged.look(job.uuid);
      const keeping = keepingOf(readModel, caller.access, job);
      return create(GetJobResponseSchema, {
        job: keeping ? { ...job, keeping } : job,
        waitingFor: waitsFor(job.uuid),
      });
    },

    async listJobs(request, call) {
      const read = listOfJobs(context, request);
      await see(request.consistencyToken, call);
      const completeUpTo = request.asOf ? '' : await seeOwn(written, readModel, call);
      return create(ListJobsResponseSchema, { ...(await read(call.caller, call.signal)), completeUpTo });
    },

    async getLineage(request, call) {
      const wanted = checkUuid('uuid', request.uuid);
      const options = lineageOptions(request);
      await see(request.consistencyToken, call);
      await seeOwn(written, readModel, call);
      return getLineage(context, call.caller, wanted, options);
    },

    async compareJobs(request, call) {
      const comparing = comparisonOf(request);
      await see(request.consistencyToken, call);
      return comparing.message(await compareJobs(callerNow(call), comparing, call.signal));
    },

    getSavings: (request, call) => getSavings(context, request, call),

    async cancelJob({ uuid, ...cancellation }, { caller }) {
      const done = await cancelJob(context, caller, checkUuid('uuid', uuid), cancellation);
      const { record, cancelled, withdrawn, position } = done;
      const { job } = record;
      return create(CancelJobResponseSchema, {
        job,
        cancelledUuids: [...cancelled],
        withdrawnInterests: [...withdrawn],
        remaining: isFinished(job.state) ? 0 : record.interests.standing.length,
        consistencyToken: tokenOf(readModel, position),
      });
    },

    async updateJob(request, { caller }) {
      if (!request.job) throw invalid('job', 'REQUIRED', 'job is required');
      const uuid = checkUuid('job.uuid', request.job.uuid);
      const command = updateCommand(request.job, request.updateMask?.paths ?? [], request.expectedRevision, edge.now());
      const { interest, forEveryone } = request;
      const { record, position } = await updateJob(context, caller, uuid, command, { interest, forEveryone });
      return create(UpdateJobResponseSchema, { job: record.job, consistencyToken: tokenOf(readModel, position) });
    },

    async deleteJob({ uuid }, { caller }) {
      const { position } = await deleteJob(context, caller, checkUuid('uuid', uuid));
      return create(DeleteJobResponseSchema, { consistencyToken: tokenOf(readModel, position) });
    },

    async cancelJobs({ selection, cascade, allMine, forEveryone }, call) {
      const cancellation = { cascade, allMine, forEveryone, interest: '' };
      checkCancellation(cancellation);
      const one = (uuid: string) => cancelJob(context, call.caller, uuid, cancellation);
      const { outcomes, matching, done, position } = await steerJobs(
        context,
        selection,
        'unfinished',
        call,
        one,
        meantOf(call),
      );
      return create(CancelJobsResponseSchema, {
        outcomes: [...outcomes],
        matching,
        cancelledUuids: [...new Set(done.flatMap(({ cancelled }) => cancelled))],
        withdrawnUuids: done
          .filter(({ record, withdrawn }) => withdrawn.length > 0 && !isFinished(record.job.state))
          .map(({ record }) => record.job.uuid),
        consistencyToken: tokenOfMany(position),
      });
    },

    async updateJobs({ selection, job, updateMask, forEveryone }, call) {
      if (!job) throw invalid('job', 'REQUIRED', 'job is required');
      const command = updateCommand(job, updateMask?.paths ?? [], undefined, edge.now());
      const whose = { interest: '', forEveryone };
      checkWhose(command, whose);
      const one = (uuid: string) => updateJob(context, call.caller, uuid, command, whose);
      const among = command.priority === undefined ? 'all' : 'unfinished';
      const { outcomes, matching, position } = await steerJobs(context, selection, among, call, one, meantOf(call));
      return create(UpdateJobsResponseSchema, {
        outcomes: [...outcomes],
        matching,
        consistencyToken: tokenOfMany(position),
      });
    },

    async deleteJobs({ selection }, call) {
      const one = (uuid: string) => deleteJob(context, call.caller, uuid);
      const { outcomes, matching, position } = await steerJobs(
        context,
        selection,
        'finished',
        call,
        one,
        meantOf(call),
      );
      return create(DeleteJobsResponseSchema, {
        outcomes: [...outcomes],
        matching,
        consistencyToken: tokenOfMany(position),
      });
    },

    async retryJob({ uuid, priority }, { caller }) {
      const { job, reused, position } = await retryJob(caller, checkUuid('uuid', uuid), priority);
      return create(RetryJobResponseSchema, { job, reused, consistencyToken: tokenOf(readModel, position) });
    },

    async retryJobs({ selection, priority }, call) {
      const one = (uuid: string) => retryJob(call.caller, uuid, priority);
      const { outcomes, matching, done, position } = await steerJobs(
        context,
        selection,
        'retriable',
        call,
        one,
        meantOf(call),
      );
      return create(RetryJobsResponseSchema, {
        outcomes: [...outcomes],
        matching,
        retried: done.map(({ retryOf, job, reused, sameWork }) => ({ retryOf, uuid: job.uuid, reused, sameWork })),
        consistencyToken: tokenOfMany(position),
      });
    },

    async checkJob({ uuid, runs, priority }, { caller }) {
      if (runs > most.runs) throw invalid('runs', 'OUT_OF_RANGE', `runs ${runs} is more than ${most.runs}`);
      const { jobs, position } = await checkJob(caller, checkUuid('uuid', uuid), { runs: runs || 1, priority });
      return create(CheckJobResponseSchema, { checks: [...jobs], consistencyToken: tokenOf(readModel, position) });
    },

    async getChecks({ uuid, consistencyToken, checks, maxDifferences }, call) {
      const wanted = checkUuid('uuid', uuid);
      if (checks.length > mostTold) {
        throw invalid('checks', 'TOO_MANY', `checks names ${checks.length}, and ${mostTold} is the limit`);
      }
      if (maxDifferences > most.differences) {
        const message = `max_differences ${maxDifferences} is more than ${most.differences}`;
        throw invalid('max_differences', 'OUT_OF_RANGE', message);
      }
      const named = checks.map((check, i) => checkUuid(`checks[${i}]`, check));
      await see(consistencyToken, call);
      const asked = { checks: named, most: maxDifferences || most.unasked };
      const told = await getChecks(callerNow(call), wanted, asked, call.signal);
      return create(GetChecksResponseSchema, { checks: [...told] });
    },

    async getQueue(request, call) {
      const read = listOfQueue(context, request);
      await see(request.consistencyToken, call);
      const completeUpTo = await seeOwn(written, readModel, call);
      const page = await read(call.caller, call.signal);
      const waiting = page.jobs.map(({ uuid }) => [uuid, waitsFor(uuid)] as const).filter(([, what]) => what !== '');
      return create(GetQueueResponseSchema, { ...page, completeUpTo, waitingFor: Object.fromEntries(waiting) });
    },

    async getQueueSize({ consistencyToken }, call) {
      await see(consistencyToken, call);
      const completeUpTo = await seeOwn(written, readModel, call);
      return create(GetQueueSizeResponseSchema, { size: BigInt(readModel.queue.size()), completeUpTo });
    },

    async *watchJob({ uuid, consistencyToken }, call) {
      const wanted = checkUuid('uuid', uuid);
      await see(consistencyToken, call);
      for await (const change of watchJob(context, callerNow(call), wanted, call.signal))
        yield create(WatchJobResponseSchema, change);
    },

    async *tailJobLog({ uuid, attempt, offset, noFollow }, call) {
      if (offset > BigInt(Number.MAX_SAFE_INTEGER)) {
        throw invalid('offset', 'OUT_OF_RANGE', `offset ${quote(String(offset))} is beyond any log`);
      }
      const start = { attempt, offset: Number(offset) };
      const pieces = logs.tail(callerNow(call), checkUuid('uuid', uuid), start, !noFollow, call.signal);
      for await (const piece of pieces) {
        yield create(TailJobLogResponseSchema, {
          offset: BigInt(piece.offset),
          text: piece.text,
          recordedAt: timestampFromMs(piece.recordedAt),
          truncated: piece.truncated,
          attempt: piece.attempt,
        });
      }
    },
  };
}

/** The caller of a call that goes on, with what it may do at each moment. */
function callerNow({ caller, access }: CallContext): Caller {
  return {
    ...caller,
    get access() {
      return access();
    },
  };
}
