import { create } from '@bufbuild/protobuf';
import { FieldMaskSchema, ListValueSchema, ValueSchema } from '@bufbuild/protobuf/wkt';
import { type Filter, FilterSchema } from '../../../gen/memoir/jobs/v1/filter_pb.js';
import { JobState } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { type JobOutcome, JobOutcomeSchema, type JobSelection } from '../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { invalid, MemoirError } from '../../domain/errors.js';
import { isFinished, stateName } from '../../domain/job.js';
import { type Position, start } from '../../eventstore/port.js';
import type { JobsContext } from '../../jobs/context.js';
import { checkUuid } from '../../jobs/limits.js';
import type { CallContext } from '../call.js';
import { seeOwn } from '../tokens.js';
import { listOfJobs } from './list-jobs.js';
import { each, isError, requestError } from './many.js';

/** Most jobs of a call. */
const maxJobs = 1_000;

/** Most jobs that filters may choose where the caller says no number. */
const usualLimit = 100;

/** Which of the jobs that filters choose are meant. */
export type Among = 'unfinished' | 'finished' | 'retriable' | 'all';

/** What became of many jobs. */
export type ManySteered<R> = {
  readonly outcomes: readonly JobOutcome[];
  /** How many were meant. */
  readonly matching: bigint;
  /** What came of those that did not fail; nothing in a dry run. */
  readonly done: readonly R[];
  /** Whoever has read up to here sees all of it; `start` if nothing was done. */
  readonly position: Position;
};

/**
 * Does the same with each of the jobs that a request selects.
 * @throws MemoirError INVALID_ARGUMENT for a selection that is none; FAILED_PRECONDITION if more match than the limit, and nothing was done
 */
export async function steerJobs<R extends { readonly position: Position }>(
  context: JobsContext,
  selection: JobSelection | undefined,
  among: Among,
  call: CallContext,
  one: (uuid: string) => Promise<R>,
  meant: (error: unknown) => MemoirError,
): Promise<ManySteered<R>> {
  if (!selection) throw invalid('selection', 'REQUIRED', 'selection is required');
  const { uuids, matching } = await selected(context, selection, among, call);
  if (selection.dryRun) {
    return { outcomes: uuids.map((uuid) => create(JobOutcomeSchema, { uuid })), matching, done: [], position: start };
  }
  const results = await each(uuids, call.signal, one, meant);
  const done = results.filter((result): result is Awaited<R> => !isError(result));
  const outcomes = results.map((result, i) =>
    create(JobOutcomeSchema, { uuid: uuids[i] as string, ...(isError(result) && { error: requestError(result) }) }),
  );
  return { outcomes, matching, done, position: Math.max(start, ...done.map(({ position }) => position)) };
}

type Selected = { readonly uuids: readonly string[]; readonly matching: bigint };

async function selected(
  context: JobsContext,
  { uuids, filters, limit, dryRun }: JobSelection,
  among: Among,
  call: CallContext,
): Promise<Selected> {
  if (uuids.length > 0 && filters.length > 0) {
    throw invalid('selection', 'BAD_SELECTION', 'selection has uuids and filters: give one of them');
  }
  if (uuids.length > maxJobs) {
    throw invalid('selection.uuids', 'TOO_MANY', `selection.uuids has ${uuids.length}, and ${maxJobs} is the limit`);
  }
  if (uuids.length > 0) {
    const named = [...new Set(uuids.map((uuid, i) => checkUuid(`selection.uuids[${i}]`, uuid)))];
    return { uuids: named, matching: BigInt(named.length) };
  }
  if (filters.length === 0) {
    throw invalid('selection', 'REQUIRED', 'selection names no jobs: give uuids, or filters for what is meant');
  }
  if (limit > maxJobs)
    throw invalid('selection.limit', 'OUT_OF_RANGE', `selection.limit ${limit} is more than ${maxJobs}`);
  const most = limit || usualLimit;
  const read = listOfJobs(context, {
    filters: [...filters, ...stateFilters(among)],
    pageSize: most,
    pageToken: '',
    select: create(FieldMaskSchema, { paths: ['uuid'] }),
    countTotal: true,
    orderBy: 'created_at',
  });
  await seeOwn(context.written, context.readModel, call);
  const { jobs, totalSize = 0n } = await read(call.caller, call.signal);
  if (totalSize > BigInt(most) && !dryRun) {
    throw new MemoirError(
      'FAILED_PRECONDITION',
      'TOO_MANY_MATCH',
      `${totalSize} jobs match, and selection.limit allows ${most}; nothing was done`,
      { field: 'selection.limit', metadata: { matching: String(totalSize), limit: String(most) } },
    );
  }
  return { uuids: jobs.map(({ uuid }) => uuid), matching: totalSize };
}

function stateFilters(among: Among): Filter[] {
  if (among === 'all') return [];
  const states = [JobState.QUEUED, JobState.RUNNING, JobState.COMPLETE, JobState.FAILED, JobState.CANCELLED];
  const meant =
    among === 'retriable'
      ? [JobState.FAILED, JobState.CANCELLED]
      : states.filter((state) => isFinished(state) === (among === 'finished'));
  const names = meant.map(stateName);
  const values = names.map((value) => create(ValueSchema, { kind: { case: 'stringValue', value } }));
  const operand = create(ValueSchema, { kind: { case: 'listValue', value: create(ListValueSchema, { values }) } });
  return [create(FilterSchema, { attribute: 'state', operator: 'in', operand })];
}
