import test from 'ava';
import { pino } from 'pino';
import { type ErrorCode, MemoirError } from '../../src/domain/errors.js';
import { callError } from '../../src/rpc/call-error.js';
import { statusOf } from '../../src/rpc/status.js';

test('when to come again is told of what passes, and not of what the same call always meets', (t) => {
  const retryAfter = (code: ErrorCode, reason: string) => {
    const {
      code: number,
      details,
      metadata,
    } = statusOf(new MemoirError(code, reason, 'm'), 'r', pino({ level: 'silent' }));
    return callError(Object.assign(new Error(details), { code: number, details, metadata })).retryAfterMs;
  };
  for (const reason of ['CONTENT_FULL', 'QUEUE_QUOTA', 'TOO_MANY_CALLS', 'TOO_MANY_UPLOADS']) {
    t.is(retryAfter('RESOURCE_EXHAUSTED', reason), 1_000, reason);
  }
  for (const reason of ['MESSAGE_TOO_LARGE', 'ANSWER_TOO_LARGE', 'LIST_TOO_LONG', 'TREE_TOO_LARGE', 'TOO_MANY_ROWS']) {
    t.is(retryAfter('RESOURCE_EXHAUSTED', reason), undefined, reason);
  }
  t.is(retryAfter('UNAVAILABLE', 'STORE_UNAVAILABLE'), 1_000);
  t.is(retryAfter('NOT_FOUND', 'JOB_NOT_FOUND'), undefined);
});
