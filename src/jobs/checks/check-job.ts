import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { JobRequested } from '../../../gen/memoir/events/v1/events_pb.js';
import { TimeLimitsSchema } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import { type Job, JobState } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { jobUuid } from '../../domain/computation.js';
import { MemoirError, quote, unknownRepository } from '../../domain/errors.js';
import { stateName } from '../../domain/job.js';
import { type Position, StreamDeleted, start, WrongExpectedRevision } from '../../eventstore/port.js';
import type { Caller } from '../caller.js';
import { contended, maxAttempts } from '../contention.js';
import type { JobsContext } from '../context.js';
import { checkBounds } from '../deciding/check-bounds.js';
import { createdAsCheck } from '../deciding/decision-message.js';
import { needsSharedRuns } from '../deciding/needs-shared-runs.js';
import type { Executed } from '../job-streams.js';
import { keyedLock } from '../keyed-lock.js';
import { denied } from '../reading/permit.js';
import { requestedAgain } from '../requested-again.js';

/** Most second runs of one principal that have not finished: they count in no quota. */
export const mostChecks = 100;

/** Priority of second runs that are given none: what is waited for comes before them. */
export const checkPriority = -1_000;

/** How second runs are asked for. */
export type Checking = { readonly runs: number; readonly priority?: number | undefined };

/** The jobs that run another again. Whoever has read up to `position` sees them. */
export type Checked = { readonly jobs: readonly Job[]; readonly position: Position };

/**
 * Runs a complete job again, to compare what it gives: by the next runs of its computation, with the commit, image and all else that
 * it was asked for with.
 * @throws MemoirError NOT_FOUND if the caller may not know of the job; PERMISSION_DENIED if it may not request jobs of the repository, or not ask for so much;
 * INVALID_ARGUMENT if that is no longer configured; RESOURCE_EXHAUSTED if too many of the caller's have not finished; FAILED_PRECONDITION if
 * the job is not complete, is itself a second run, or log format 4 may not be recorded
 */
export type CheckJob = (caller: Caller, uuid: string, checking: Checking) => Promise<Checked>;

/** Makes the use case CheckJob. As with any job, of two servers that make the same run one collides and takes the next. */
export function jobChecker(context: JobsContext): CheckJob {
  const { store, readModel, streams, written } = context;
  const serially = keyedLock();

  async function makeRun(caller: Caller, job: Job, priority: number): Promise<Executed> {
    // The last run whose stream is taken by what the read model has no job for.
    let taken = 0;
    for (let i = 0; i < maxAttempts; i++) {
      await written.seen(job.computationDigest);
      const run = Math.max(readModel.candidates.lastRun(job.computationDigest), taken) + 1;
      const event = checkRequest(context, job, { owner: caller.principal, runNumber: run, priority });
      try {
        const made = await streams.request(caller, event);
        const { uuid, repository, scriptVersion: commit } = made.record.job;
        context.keepCommit?.({ uuid, repository, commit });
        return made;
      } catch (error) {
        if (!(error instanceof WrongExpectedRevision) && !(error instanceof StreamDeleted)) throw error;
      }
      await written.catchUp(await store.end());
      if (readModel.candidates.lastRun(job.computationDigest) < run) taken = run;
    }
    throw contended('others request the same computation');
  }

  async function check(caller: Caller, job: Job, { runs, priority = checkPriority }: Checking): Promise<Checked> {
    const unfinished = readModel.queue.loadOfOwner(caller.principal).checks;
    if (unfinished + runs > mostChecks) throw tooMany(caller.principal, unfinished);
    const made: Executed[] = [];
    for (let i = 0; i < runs; i++) made.push(await makeRun(caller, job, priority));
    const position = made.at(-1)?.position ?? start;
    // They are counted by who asks for more.
    await written.catchUp(position);
    return { jobs: made.map(({ record }) => record.job), position };
  }

  return async (caller, uuid, checking) => {
    const { job } = await streams.read(caller, uuid);
    checkComparable(context, caller, job);
    checkBounds(caller, { ...job, priority: checking.priority ?? checkPriority });
    return serially(caller.principal, () => check(caller, job, checking));
  };
}

function checkComparable({ sharesRuns, repositories }: JobsContext, caller: Caller, job: Job): void {
  const { uuid, repository, state, checkOf } = job;
  if (!caller.access.submits(repository)) throw denied(caller, `request jobs of repository ${quote(repository)}`);
  if (state !== JobState.COMPLETE) throw incomparable(job, `is ${stateName(state)}: only a complete one`);
  if (checkOf !== '') throw incomparable(job, 'is itself a second run: only a first one');
  if (!repositories.names().includes(repository)) throw unknownRepository(repository);
  if (!sharesRuns) throw needsSharedRuns(`to run job ${uuid} again`);
}

function incomparable({ uuid, state }: Job, why: string): MemoirError {
  const message = `job ${uuid} ${why} can be run again to compare`;
  return new MemoirError('FAILED_PRECONDITION', 'JOB_NOT_COMPARABLE', message, {
    field: 'uuid',
    metadata: { state: stateName(state) },
  });
}

function tooMany(principal: string, unfinished: number): MemoirError {
  return new MemoirError(
    'RESOURCE_EXHAUSTED',
    'TOO_MANY_CHECKS',
    `${quote(principal)} has ${unfinished} second runs that have not finished, and may have ${mostChecks}: wait for some, or cancel some`,
    { metadata: { most: String(mostChecks), unfinished: String(unfinished) } },
  );
}

/**
 * The request for a second run. What the job is to be found by is not repeated, so that nobody takes the second run for the job; nor is for how
 * long it may wait, since it waits behind all others.
 */
function checkRequest(
  { shares, edge }: JobsContext,
  job: Job,
  { owner, runNumber, priority }: { readonly owner: string; readonly runNumber: number; readonly priority: number },
): JobRequested {
  const uuid = jobUuid(job.computationDigest, runNumber);
  const { limits } = job;
  return requestedAgain(job, {
    uuid,
    owner,
    runNumber,
    priority,
    turnWeight: shares.ofOwner(owner).weight,
    checkOf: job.uuid,
    decision: createdAsCheck(uuid, job.runNumber),
    requestedAt: timestampFromMs(edge.now()),
    ...(limits?.run && { limits: create(TimeLimitsSchema, { run: limits.run }) }),
  });
}
