import { status } from '@grpc/grpc-js';
import test from 'ava';
import { CallError } from '../../src/rpc/call-error.js';
import { isTransient, retrying } from '../../src/worker/retry.js';

for (const [code, reason, again] of [
  ['UNAVAILABLE', 'STORE_UNAVAILABLE', true],
  ['DEADLINE_EXCEEDED', '', true],
  ['CANCELLED', '', true],
  ['ABORTED', 'CONTENTION', true],
  ['ABORTED', 'ANYTHING_ELSE', true],
  ['FAILED_PRECONDITION', 'NOT_RUNNING', false],
  ['INVALID_ARGUMENT', 'EVENT_TOO_LARGE', false],
] as const) {
  test(`a call that ends with ${code} ${reason} is ${again ? 'made again' : 'final'}`, async (t) => {
    const error = new CallError(status[code], code, { reason });
    t.is(isTransient(error), again);
    const attempt = async (before: number) => {
      if (before === 0) throw error;
      return 'done';
    };
    const outcome = retrying(new AbortController().signal, attempt);
    if (again) t.is(await outcome, 'done');
    else await t.throwsAsync(outcome, { is: error });
  });
}
