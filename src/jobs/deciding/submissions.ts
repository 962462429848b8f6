import { hash } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import canonicalize from 'canonicalize';
import {
  type JobJoined,
  type JobRequested,
  type JobReused,
  type SubmissionIntended,
  SubmissionIntendedSchema,
} from '../../../gen/memoir/events/v1/events_pb.js';
import type { Decision } from '../../../gen/memoir/jobs/v1/decision_pb.js';
import type { CreateJobRequest } from '../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { MemoirError, quote } from '../../domain/errors.js';
import type { JobRecord } from '../../domain/job.js';
import { jobStream, reuseStream, submitStream } from '../../domain/streams.js';
import { judged, lastFirst } from '../../eventstore/foreign.js';
import { type ExpectedRevision, type Position, WrongExpectedRevision } from '../../eventstore/port.js';
import type { Caller } from '../caller.js';
import type { JobsContext } from '../context.js';
import { eventOfCall } from '../event-of-call.js';
import { type AnswerEvent, decisionOf, joinJob, recordReused, reusedInstead, wants } from './answer-with-job.js';

/** A request with a submit_id. */
export type Submission = {
  readonly caller: Caller;
  readonly request: CreateJobRequest;
  /** SHA-256 of the rest of the request. */
  readonly digest: string;
};

/** An answer that was intended for a submission, and where that was recorded. */
export type Intention = { readonly event: SubmissionIntended; readonly revision: number; readonly position: Position };

/** An intention that is carried out: the job, and why it is the answer, as that was recorded now or was to be. */
export type Completed = { readonly record: JobRecord; readonly decision: Decision | undefined };

/**
 * What was intended for each submit_id, in streams of their own: an answer is recorded there before it is carried out, so that whoever
 * finds it half done, after a crash or at another server, carries out the same.
 */
export type Submissions = {
  /**
   * The last intention of a submission.
   * @throws MemoirError ALREADY_EXISTS if the submit_id was used for another request
   */
  last(submission: Submission): Promise<Intention | undefined>;
  /**
   * Records what is intended.
   * @throws WrongExpectedRevision if another server intended something meanwhile
   */
  intend(submission: Submission, after: Intention | undefined, answer: JobRequested | AnswerEvent): Promise<void>;
  /**
   * Carries an intention out, if it is not yet, and gives the job.
   * `first` says that the call itself intended it, so that nobody was answered with the job before.
   * @returns undefined if the run that was intended is another's, who made it before, or the job that was to be joined has finished: then the
   * submission is to be decided anew
   */
  complete(submission: Submission, intention: Intention, first: boolean): Promise<Completed | undefined>;
};

/** Digest of a principal and its submit_id, in 64 hexadecimal digits. */
export function submitDigest(principal: string, submitId: string): string {
  return hash('sha256', canonicalize([principal, submitId]) as string);
}

/** What a submission's own request says of the job, and what therefore need not be recorded twice. */
const ofRequest = (request: CreateJobRequest) => ({
  scriptParameters: request.scriptParameters ?? {},
  description: request.description,
  components: request.components,
  labels: request.labels,
});

/** Opens them. */
export function openSubmissions(context: JobsContext): Submissions {
  const { store, streams } = context;

  async function ensureReused(caller: Caller, reused: JobReused, since: Position): Promise<void> {
    const stream = reuseStream(reused.uuid);
    for await (const recorded of store.readStream(stream, undefined, { direction: 'backwards' })) {
      if (recorded.position < since) break;
      const { event } = judged(recorded);
      if (event?.$typeName !== 'memoir.events.v1.JobReused') continue;
      if (event.submitId === reused.submitId && event.requestedBy === reused.requestedBy) return;
    }
    await recordReused(context, caller, reused);
  }

  async function ensureJoined(caller: Caller, joined: JobJoined, since: Position): Promise<Completed | undefined> {
    const { decision } = joined;
    const record = await streams.read(caller, joined.uuid);
    if (wants(record, joined)) return { record, decision };
    const done = await joinJob(context, caller, joined);
    // Too many want the job: what is recorded is that the request was answered with it.
    if (done && !wants(done.record, joined)) await ensureReused(caller, reusedInstead(joined), since);
    return done && { record: done.record, decision: decisionOf(done) ?? decision };
  }

  async function ensureRequested(submission: Submission, requested: JobRequested): Promise<JobRecord | undefined> {
    const { caller, request, digest } = submission;
    let record = await streams.load(requested.uuid);
    if (!record) {
      try {
        const { record: made } = await streams.request(caller, { ...requested, ...ofRequest(request) });
        const { uuid, repository, scriptVersion: commit } = made.job;
        context.keepCommit?.({ uuid, repository, commit });
        return made;
      } catch (error) {
        if (!(error instanceof WrongExpectedRevision)) throw error;
        record = await streams.load(requested.uuid);
      }
    }
    const job = record?.job;
    const ours =
      job?.owner === caller.principal && job.submitId === request.submitId && record?.requestDigest === digest;
    return ours ? record : undefined;
  }

  return {
    async last({ caller, request, digest }) {
      const stream = submitStream(submitDigest(caller.principal, request.submitId));
      let revision: number | undefined;
      for await (const recorded of lastFirst(store, stream)) {
        revision ??= recorded.revision;
        const { event } = judged(recorded);
        if (event?.$typeName !== 'memoir.events.v1.SubmissionIntended') continue;
        const { position } = recorded;
        if (event.requestDigest !== digest) throw usedBefore(request.submitId, event.answer.value?.uuid ?? '');
        return { event, revision, position };
      }
      return undefined;
    },

    async intend({ caller, request, digest }, after, answer) {
      // What could not be carried out is not intended either.
      if (answer.$typeName === 'memoir.events.v1.JobRequested') {
        store.checkSize?.(jobStream(answer.uuid), [eventOfCall(context, caller, answer)]);
      }
      const event = create(SubmissionIntendedSchema, {
        principal: caller.principal,
        submitId: request.submitId,
        requestDigest: digest,
        answer: intendedAnswer(answer),
      });
      const stream = submitStream(submitDigest(caller.principal, request.submitId));
      const expected: ExpectedRevision = after?.revision ?? 'no_stream';
      await store.append(stream, expected, [eventOfCall(context, caller, event)]);
    },

    async complete(submission, { event: { answer }, position }, first) {
      if (answer.case === undefined) return undefined;
      const { decision } = answer.value;
      if (answer.case === 'requested') {
        const record = await ensureRequested(submission, answer.value);
        return record && { record, decision };
      }
      const { caller, request } = submission;
      try {
        if (answer.case === 'joined') return await ensureJoined(caller, answer.value, position);
        await ensureReused(caller, answer.value, position);
        return { record: await streams.read(caller, answer.value.uuid), decision };
      } catch (error) {
        if (!(error instanceof MemoirError) || error.code !== 'NOT_FOUND') throw error;
        if (first) return undefined;
        throw gone(request.submitId);
      }
    },
  };
}

function intendedAnswer(answer: JobRequested | AnswerEvent): SubmissionIntended['answer'] {
  switch (answer.$typeName) {
    case 'memoir.events.v1.JobReused':
      return { case: 'reused', value: answer };
    case 'memoir.events.v1.JobJoined':
      return { case: 'joined', value: answer };
    case 'memoir.events.v1.JobRequested':
      return {
        case: 'requested',
        value: { ...answer, scriptParameters: {}, description: '', components: {}, labels: {} },
      };
  }
}

/** The ALREADY_EXISTS for a submit_id that another request had. */
export function usedBefore(submitId: string, uuid: string): MemoirError {
  return new MemoirError(
    'ALREADY_EXISTS',
    'SUBMIT_ID_USED',
    `submit_id ${quote(submitId)} was used for another request, which was answered with job ${uuid}`,
    { field: 'submit_id', metadata: { uuid } },
  );
}

function gone(submitId: string): MemoirError {
  return new MemoirError(
    'FAILED_PRECONDITION',
    'JOB_DELETED',
    `the job that the first request with submit_id ${quote(submitId)} was answered with was deleted`,
    { field: 'submit_id' },
  );
}
