import { create, toBinary } from '@bufbuild/protobuf';
import test from 'ava';
import {
  CheckOutcome,
  DifferenceKind,
  type OutputDifference,
  OutputDifferenceSchema,
} from '../../gen/memoir/jobs/v1/check_pb.js';
import { CompareJobsRequestSchema, CompareJobsResponseSchema } from '../../gen/memoir/jobs/v1/comparison_pb.js';
import { JobSchema } from '../../gen/memoir/jobs/v1/job_pb.js';
import type { Comparison } from '../../src/jobs/comparing/compare-jobs.js';
import { comparisonOf } from '../../src/rpc/jobs/compare-jobs.js';

const uuid = '9cd9ea37-8a5e-5a4b-9a0e-3e1f0c1b7d11';
const { message } = comparisonOf(create(CompareJobsRequestSchema, { a: uuid, b: uuid }));
const job = create(JobSchema, { uuid });

/** The most that each list may hold. */
const thousand = <T>(make: (n: number) => T): T[] => Array.from({ length: 1_000 }, (_, n) => make(n));
const long = (n: number) => `${n}/${'日'.repeat(1_300)}`;
const difference = (n: number): OutputDifference =>
  create(OutputDifferenceSchema, { path: long(n), kind: DifferenceKind.BYTES, detail: long(n) });
const mode = { mode: '100644' as const, oid: 'f'.repeat(64) };

const nothing: Comparison = {
  a: job,
  b: job,
  fields: { told: [], truncated: false },
  code: { changed: [], truncated: false, message: '' },
  inputs: { told: [], truncated: false },
  output: { outcome: CheckOutcome.SAME },
};

test('however much differs, the answer fits what clients accept and says what is left out', (t) => {
  const reason = 'R'.repeat(4_096);
  const attempts = thousand((number) => ({ number, worker: 'w'.repeat(4_096), workerName: 'n', reason }));
  const many = create(JobSchema, { uuid, attempts, attemptCount: 1_000 });
  const differences = thousand(difference);
  const answer = message({
    a: many,
    b: many,
    fields: {
      told: thousand((n) => ({
        part: 'request',
        field: 'script_parameters',
        pointer: `/${long(n)}`,
        a: long(n),
        b: long(n),
      })),
      truncated: false,
    },
    code: {
      changed: thousand((n) => ({ path: long(n), one: mode, other: mode, lines: { added: 1, removed: 2 } })),
      truncated: false,
      message: '',
    },
    inputs: {
      told: thousand((n) => ({
        pointer: `/${long(n)}`,
        a: undefined,
        b: undefined,
        differences,
        incomplete: false,
        message: '',
      })),
      truncated: false,
    },
    output: { outcome: CheckOutcome.DIFFERENT, differences, incomplete: false },
  });
  t.true(toBinary(CompareJobsResponseSchema, answer).length < 3 * 1024 ** 2);
  t.true(answer.differencesTruncated && answer.inputsTruncated && answer.code?.truncated && answer.output?.incomplete);
  t.true(answer.differences.length > 100 && (answer.code?.changes.length ?? 0) > 100);
  // What was counted is told of all.
  t.like(answer.code, { addedLines: 1_000n, removedLines: 2_000n });
  t.is(answer.a?.attempts.length, 20);
  t.is(answer.a?.attemptCount, 1_000);
  t.is(answer.a?.attempts.at(-1)?.number, 999);
});

test('two jobs are the same only if everything could be told, however they ran', (t) => {
  t.true(message(nothing).same);
  const run = { part: 'run', field: 'claimed_by', pointer: '', a: 'x', b: 'y' } as const;
  t.true(message({ ...nothing, fields: { told: [run], truncated: false } }).same);
  for (const more of [
    { fields: { told: [{ ...run, part: 'request' as const }], truncated: false } },
    { fields: { told: [run], truncated: true } },
    { code: { changed: [{ path: 'a' }], truncated: false, message: '' } },
    { code: { changed: [], truncated: false, message: 'gone' } },
    { code: { changed: [], truncated: true, message: '' } },
    { output: { outcome: CheckOutcome.PENDING } },
    { output: { outcome: CheckOutcome.INCONCLUSIVE } },
    { output: { outcome: CheckOutcome.DIFFERENT } },
  ]) {
    t.false(message({ ...nothing, ...more }).same);
  }
});
