import { create, type DescMessage, type JsonValue, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { type Duration, durationFromMs, type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt';
import { CheckOutcome, type OutputDifference, OutputDifferenceSchema } from '../../../gen/memoir/jobs/v1/check_pb.js';
import {
  CodeChangeSchema,
  CodeComparisonSchema,
  type ComparedJob,
  ComparedJobSchema,
  ComparedPart,
  type CompareJobsRequest,
  type CompareJobsResponse,
  CompareJobsResponseSchema,
  InputComparisonSchema,
  JobDifferenceSchema,
  OutputComparisonSchema,
} from '../../../gen/memoir/jobs/v1/comparison_pb.js';
import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';
import type { Part } from '../../domain/comparison/compared-fields.js';
import { longestPointer } from '../../domain/comparison/json-differences.js';
import { invalid } from '../../domain/errors.js';
import type { ComparedCode, ComparedInput, Comparing, Comparison } from '../../jobs/comparing/compare-jobs.js';
import { checkUuid } from '../../jobs/limits.js';
import { cut } from '../status.js';

/** Most differences of each kind that may be asked for, and that are told unasked; bytes of each; characters of a value; attempts of a job. */
const most = { asked: 1_000, unasked: 100, bytes: 512 * 1024, characters: 200, attempts: 20 };

const parts: Readonly<Record<Part, ComparedPart>> = {
  request: ComparedPart.REQUEST,
  resolution: ComparedPart.RESOLUTION,
  run: ComparedPart.RUN,
};

/**
 * Which jobs a request wants compared, and how the answer is made.
 * @throws MemoirError INVALID_ARGUMENT naming the field that is wrong
 */
export function comparisonOf(
  request: CompareJobsRequest,
): Comparing & { message(comparison: Comparison): CompareJobsResponse } {
  const { maxDifferences } = request;
  if (maxDifferences > most.asked) {
    throw invalid('max_differences', 'OUT_OF_RANGE', `max_differences ${maxDifferences} is more than ${most.asked}`);
  }
  const [a, b] = [checkUuid('a', request.a), checkUuid('b', request.b)];
  return { a, b, most: maxDifferences || most.unasked, message: messageOf };
}

function messageOf(comparison: Comparison): CompareJobsResponse {
  const { a, b, fields, code, inputs, output } = comparison;
  const differences = within(JobDifferenceSchema, fields.told, ({ part, field, pointer, ...values }) =>
    create(JobDifferenceSchema, {
      part: parts[part],
      field,
      pointer: cut(pointer, longestPointer),
      ...(values.a !== undefined && { a: valueText(values.a) }),
      ...(values.b !== undefined && { b: valueText(values.b) }),
    }),
  );
  const compared = within(InputComparisonSchema, inputs.told, inputMessage);
  const where = within(OutputDifferenceSchema, output.differences ?? [], asIs);
  return create(CompareJobsResponseSchema, {
    a: jobMessage(a),
    b: jobMessage(b),
    same: isSame(comparison),
    differences: differences.told,
    differencesTruncated: fields.truncated || differences.truncated,
    code: codeMessage(code),
    inputs: compared.told,
    inputsTruncated: inputs.truncated || compared.truncated,
    output: create(OutputComparisonSchema, {
      ...output,
      differences: where.told,
      incomplete: output.incomplete === true || where.truncated,
      message: cut(output.message ?? '', 10 * most.characters),
      a: a.output,
      b: b.output,
    }),
  });
}

/** Whether nothing differs but how the runs went, and everything could be told. */
function isSame({ fields, code, inputs, output }: Comparison): boolean {
  return (
    !fields.truncated &&
    fields.told.every(({ part }) => part === 'run') &&
    code.changed.length === 0 &&
    !code.truncated &&
    code.message === '' &&
    inputs.told.length === 0 &&
    output.outcome === CheckOutcome.SAME
  );
}

/** As many messages, each made of one of some, as fit into the bytes of one list. No more are made than that takes. */
function within<Desc extends DescMessage, T>(schema: Desc, all: readonly T[], make: (one: T) => MessageShape<Desc>) {
  const told: MessageShape<Desc>[] = [];
  let bytes = 0;
  for (const one of all) {
    const message = make(one);
    bytes += toBinary(schema, message).length;
    if (bytes > most.bytes) break;
    told.push(message);
  }
  return { told, truncated: told.length < all.length };
}

const asIs = (difference: OutputDifference) => difference;

function valueText(value: JsonValue): string {
  return cut(JSON.stringify(value), most.characters);
}

function codeMessage({ changed, truncated, message }: ComparedCode) {
  const changes = within(CodeChangeSchema, changed, ({ path, one, other, lines, without = '' }) =>
    create(CodeChangeSchema, {
      path,
      aMode: one?.mode ?? '',
      aOid: one?.oid ?? '',
      bMode: other?.mode ?? '',
      bOid: other?.oid ?? '',
      ...lines,
      uncounted: without,
    }),
  );
  const sum = (of: 'added' | 'removed') => BigInt(changed.reduce((all, { lines }) => all + (lines?.[of] ?? 0), 0));
  return create(CodeComparisonSchema, {
    changes: changes.told,
    truncated: truncated || changes.truncated,
    message: cut(message, 10 * most.characters),
    addedLines: sum('added'),
    removedLines: sum('removed'),
  });
}

function inputMessage({ pointer, a, b, differences, incomplete, message }: ComparedInput) {
  const where = within(OutputDifferenceSchema, differences, asIs);
  return create(InputComparisonSchema, {
    pointer: cut(pointer, longestPointer),
    ...(a?.digest && { a: a.digest }),
    ...(b?.digest && { b: b.digest }),
    differences: where.told,
    incomplete: incomplete || where.truncated,
    message,
  });
}

function jobMessage({ uuid, owner, state, createdAt, attempts, attemptCount }: Job): ComparedJob {
  const [first, last] = [attempts[0], attempts.at(-1)];
  const between = (from: Timestamp | undefined, to: Timestamp | undefined): Duration | undefined =>
    from && to && durationFromMs(Math.max(0, timestampMs(to) - timestampMs(from)));
  const [queued, ran] = [between(createdAt, first?.startedAt), between(last?.startedAt, last?.endedAt)];
  return create(ComparedJobSchema, {
    uuid,
    owner,
    state,
    attemptCount,
    ...(createdAt && { createdAt }),
    ...(queued && { queued }),
    ...(ran && { ran }),
    attempts: attempts
      .slice(-most.attempts)
      .map(({ number, worker, workerName, fault, reason, startedAt, endedAt }) => {
        const own = between(startedAt, endedAt);
        return { number, worker, workerName, fault, reason, ...(own && { ran: own }) };
      }),
  });
}
