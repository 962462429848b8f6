import { toJson } from '@bufbuild/protobuf';
import type { FieldMask } from '@bufbuild/protobuf/wkt';
import type { AsOf } from '../../../gen/memoir/jobs/v1/as_of_pb.js';
import { type Filter, FilterSchema } from '../../../gen/memoir/jobs/v1/filter_pb.js';
import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';
import type { KeyValue } from '../../../projections/lists/list-query.js';
import { secretFields } from '../../../projections/lists/told-fields.js';
import { jobFromRow } from '../../../projections/read-model/jobs.js';
import { invalid } from '../../domain/errors.js';
import type { ScalarKind } from '../../domain/filters/field.js';
import { type JobOrder, newestFirst, parseOrder } from '../../domain/filters/job-order.js';
import { parseFilters } from '../../domain/filters/parse-filters.js';
import { markedToken, unmarkedToken } from '../../domain/generation.js';
import type { Position } from '../../eventstore/port.js';
import { momentText, positionOf, readablePosition } from '../../history/as-of.js';
import type { Caller } from '../../jobs/caller.js';
import type { JobsContext } from '../../jobs/context.js';
import { resolveSets } from '../../jobs/deciding/filter-sets.js';
import { denied } from '../../jobs/reading/permit.js';
import { knowingOf, readersOf, requestedByOf } from '../../jobs/reading/readers.js';
import { checkPageSize } from '../tokens.js';
import { type Listed, listTokenOf, readListToken } from './list-token.js';
import { parseSelection } from './selection.js';

/** About how many bytes of jobs a page holds at most; a page that would be larger ends early. */
const pageBytes = 2 * 1024 * 1024;

/** What ListJobs and GetQueue have in common. */
export type ListRequest = {
  readonly pageSize: number;
  readonly pageToken: string;
  readonly filters: readonly Filter[];
  readonly select?: FieldMask | undefined;
  readonly countTotal: boolean;
  readonly asOf?: AsOf | undefined;
};

/** A page of jobs. */
export type ListResponse = {
  readonly jobs: Job[];
  readonly nextPageToken: string;
  readonly totalSize?: bigint;
};

/** A list that was asked for and checked: reads it, within its limit of time. */
export type ReadList = (caller: Caller, signal: AbortSignal) => Promise<ListResponse>;

/**
 * Checks a request for jobs in an order.
 * @throws MemoirError INVALID_ARGUMENT naming the field that is wrong
 */
export function listOfJobs(context: JobsContext, request: ListRequest & { readonly orderBy: string }): ReadList {
  const order = parseOrder(request.orderBy);
  return list(context, request, 'jobs', order, [...order.map(({ kind }) => kind), 'number']);
}

/**
 * Checks a request for queued jobs.
 * @throws MemoirError INVALID_ARGUMENT naming the field that is wrong
 */
export function listOfQueue(context: JobsContext, request: ListRequest): ReadList {
  return list(context, request, 'queue', newestFirst, ['number', 'number', 'number']);
}

function list(
  context: JobsContext,
  request: ListRequest,
  from: 'jobs' | 'queue',
  order: JobOrder,
  kinds: readonly ScalarKind[],
): ReadList {
  const limit = checkPageSize(request.pageSize);
  const checked = parseFilters(request.filters, true);
  const selection = parseSelection(request.select);
  const keys = order.map(({ field, descending }) => [field, descending]);
  const { asOf } = request;
  const filtersGiven = request.filters.map((filter) => toJson(FilterSchema, filter));
  const listed: Listed = [from, keys, filtersGiven, ...(asOf ? [momentText(asOf)] : [])];
  // The position comes last, so that all pages are of the moment that the first one was of.
  const { readModel } = context;
  const pageToken = unmarkedToken(readModel.generation(), 'page_token', request.pageToken);
  const token = readListToken(listed, asOf ? [...kinds, 'number'] : kinds, pageToken);
  const after = asOf ? token?.slice(0, -1) : token;
  const pinned = asOf ? token?.at(-1) : undefined;
  return async (caller, signal) => {
    const position =
      asOf && (await (pinned === undefined ? positionOf(context, asOf, signal) : pinnedPosition(pinned, signal)));
    const images = position === undefined ? context.images : context.images.among(context.history.at(position).images);
    const resolved = await resolveSets(
      { ...context, images, repositories: context.repositories.askedBy(caller) },
      caller,
      checked,
    );
    const filters = await resolved.now();
    const { fields } = selection;
    const { countTotal } = request;
    const readers = await readersOf(context.lists, caller, filters);
    const requesters = checked.requesters && (await requestedByOf(context.lists, caller, checked.requesters.names));
    const whose = requesters && { requestedBy: requesters };
    const knowing = await knowingOf(context.lists, caller, filters);
    const secret = order.find(({ field }) => secretFields.includes(field));
    if (secret && !caller.access.administersAll)
      throw denied(caller, `order jobs by ${secret.field}, which is not told of all of them`);
    const moment = position === undefined ? {} : { asOf: position };
    const query = {
      from,
      ...moment,
      filters,
      ...whose,
      ...(knowing && { knowing }),
      readers,
      order,
      after,
      limit,
      bytes: pageBytes,
      fields,
      countTotal,
    };
    const { rows, next, total } = await context.lists.list(query, caller.principal, signal);
    return {
      jobs: rows.map((row) => {
        const job = selection.apply(jobFromRow(row));
        job.damaged = context.damaged.has(job.uuid);
        return job;
      }),
      nextPageToken: next
        ? markedToken(readModel.generation(), listTokenOf(listed, position === undefined ? next : [...next, position]))
        : '',
      ...(total !== undefined && { totalSize: BigInt(total) }),
    };
  };
  async function pinnedPosition(value: KeyValue, signal: AbortSignal): Promise<Position> {
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) {
      return readablePosition(context, BigInt(value), signal);
    }
    throw invalid('page_token', 'BAD_TOKEN', 'page_token was not given by this list');
  }
}
