import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { type Duration, durationFromMs, type Timestamp } from '@bufbuild/protobuf/wkt';
import {
  type GetSavingsRequest,
  type GetSavingsResponse,
  GetSavingsResponseSchema,
  type RunTimeSchema,
  SavingsDimension,
  type SavingsRow,
  SavingsRowSchema,
} from '../../../gen/memoir/jobs/v1/savings_pb.js';
import { dayMs, dayOf } from '../../../projections/read-model/savings/ledger.js';
import { invalid } from '../../domain/errors.js';
import { markedToken, unmarkedToken } from '../../domain/generation.js';
import { costText, type Prices } from '../../domain/savings/prices.js';
import { momentText, positionOf, readablePosition } from '../../history/as-of.js';
import { checkTime } from '../../jobs/check-time.js';
import type { JobsContext } from '../../jobs/context.js';
import { checkLength, textLimits } from '../../jobs/limits.js';
import { checkKnows } from '../../jobs/reading/permit.js';
import {
  type Amount,
  type Dimension,
  type SavingsRow as Row,
  type SavingsQuery,
  savingsUpTo,
} from '../../jobs/reading/savings.js';
import type { CallContext } from '../call.js';
import { checkPageSize, seeOwn, seeToken } from '../tokens.js';
import { type Listed, listTokenOf, readListToken } from './list-token.js';

/** About how many bytes of rows a page holds at most; a page that would be larger ends early. */
const pageBytes = 2 * 1024 * 1024;

const dimensions: Readonly<Record<SavingsDimension, Dimension | undefined>> = {
  [SavingsDimension.UNSPECIFIED]: undefined,
  [SavingsDimension.OWNER]: 'owner',
  [SavingsDimension.REPOSITORY]: 'repository',
  [SavingsDimension.SCRIPT]: 'script',
  [SavingsDimension.DAY]: 'day',
};

/**
 * GetSavings.
 * @throws MemoirError INVALID_ARGUMENT naming the field that is wrong, or as for a repository that is not configured if the caller may not know of it
 */
export async function getSavings(
  context: JobsContext,
  request: GetSavingsRequest,
  call: CallContext,
): Promise<GetSavingsResponse> {
  const { readModel, store, written, prices } = context;
  const query = queryOf(request);
  const limit = checkPageSize(request.pageSize);
  const { asOf } = request;
  const { by, ...rest } = query;
  const listed: Listed = ['savings', [...by].sort(), rest, asOf ? momentText(asOf) : ''];
  const token = unmarkedToken(readModel.generation(), 'page_token', request.pageToken);
  const [pinned, after = 0] = (readListToken(listed, ['number', 'number'], token) ?? []) as number[];
  if (query.repository !== undefined) checkKnows(call.caller, query.repository);
  await seeToken(request.consistencyToken, store, readModel, call);
  const completeUpTo = asOf ? '' : await seeOwn(written, readModel, call);

  const position =
    pinned === undefined
      ? asOf
        ? await positionOf(context, asOf, call.signal)
        : readModel.position()
      : await readablePosition(context, checkedPosition(pinned, after), call.signal);
  const { access } = call.caller;
  const { rows, total, answersLeftOut } = await savingsUpTo(readModel, access, query, position, prices);
  const page = pageOf(rows.slice(after, after + limit), prices);
  const next = after + page.length;
  return create(GetSavingsResponseSchema, {
    rows: page,
    total: rowMessage(total, prices),
    nextPageToken: next < rows.length ? markedToken(readModel.generation(), listTokenOf(listed, [position, next])) : '',
    position: BigInt(position),
    currency: prices?.currency ?? '',
    answersLeftOut,
    completeUpTo,
  });
}

function queryOf({ by, owner, repository, script, since, until }: GetSavingsRequest): SavingsQuery {
  const apart = new Set<Dimension>();
  for (const [i, one] of by.entries()) {
    const dimension = dimensions[one];
    if (!dimension) {
      throw invalid(
        `by[${i}]`,
        'UNKNOWN_VALUE',
        `by[${i}] ${one} is none of OWNER (1), REPOSITORY (2), SCRIPT (3), DAY (4)`,
      );
    }
    if (apart.has(dimension)) throw invalid(`by[${i}]`, 'TWICE', `by[${i}] ${SavingsDimension[one]} is there twice`);
    apart.add(dimension);
  }
  // Principals are as long as their credentials make them.
  checkLength('owner', owner, textLimits.address);
  checkLength('repository', repository, textLimits.repository);
  checkLength('script', script, textLimits.script);
  const day = (field: string, time: Timestamp | undefined) => time && dayOf(checkTime(field, time));
  const [firstDay, lastDay] = [day('since', since), day('until', until)];
  if (firstDay !== undefined && lastDay !== undefined && firstDay > lastDay) {
    throw invalid('until', 'OUT_OF_RANGE', `until ${dayText(lastDay)} is a day before since ${dayText(firstDay)}`);
  }
  return {
    by: apart,
    ...(owner !== '' && { owner }),
    ...(repository !== '' && { repository }),
    ...(script !== '' && { script }),
    firstDay: firstDay ?? Number.MIN_SAFE_INTEGER,
    lastDay: lastDay ?? Number.MAX_SAFE_INTEGER,
  };
}

function checkedPosition(position: number, after: number): bigint {
  if (Number.isSafeInteger(position) && position >= 0 && Number.isSafeInteger(after) && after >= 0) {
    return BigInt(position);
  }
  throw invalid('page_token', 'BAD_TOKEN', 'page_token was not given by this list');
}

function pageOf(rows: readonly Row[], prices: Prices | undefined): SavingsRow[] {
  const page: SavingsRow[] = [];
  let bytes = 0;
  for (const row of rows) {
    const message = rowMessage(row, prices);
    bytes += toBinary(SavingsRowSchema, message).length;
    if (page.length > 0 && bytes > pageBytes) break;
    page.push(message);
  }
  return page;
}

function rowMessage(row: Row, prices: Prices | undefined): SavingsRow {
  const amount = (one: Amount) => runTime(one, prices);
  return create(SavingsRowSchema, {
    owner: row.owner ?? '',
    others: row.others,
    repository: row.repository ?? '',
    script: row.script ?? '',
    day: row.day === undefined ? '' : dayText(row.day),
    answers: BigInt(row.answers),
    joins: BigInt(row.joins),
    saved: amount(row.saved),
    spent: amount(row.spent),
    spentWithoutResult: amount(row.noResult),
    spentOnChecks: amount(row.checks),
  });
}

function runTime({ ms, unpricedMs, cost }: Amount, prices: Prices | undefined): MessageInitShape<typeof RunTimeSchema> {
  const priced = prices && (unpricedMs !== ms || ms === 0);
  return { time: duration(ms), unpriced: duration(unpricedMs), ...(priced && { cost: costText(cost) }) };
}

/** Longest time that a Duration tells, in milliseconds. */
const longestMs = 315_576_000_000_000;

function duration(ms: number): Duration {
  return durationFromMs(Math.max(-longestMs, Math.min(longestMs, ms)));
}

/** A day counted from 1970-01-01, as a date; of times that no date has, the nearest. */
function dayText(day: number): string {
  const furthest = 8_640_000_000_000_000 / dayMs;
  return new Date(Math.max(-furthest, Math.min(furthest, day)) * dayMs).toISOString().replace(/T.*/, '');
}
