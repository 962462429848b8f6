import { status } from '@grpc/grpc-js';
import type { ExecutionContext } from 'ava';
import { CallError } from '../../src/rpc/call-error.js';
import type { TestServer } from './server.js';

/** How a call must be refused. */
export type Refusal = {
  readonly code: keyof typeof status;
  /** Reason of the ErrorInfo. */
  readonly reason: string;
  /** The one field of the BadRequest; absent if there must be none. */
  readonly field?: string;
  /** What the message must hold: the offending value. */
  readonly naming?: string | RegExp;
};

/** What a call failed with. Fails the test if it succeeded or threw anything but a `CallError`. */
export async function failure(t: ExecutionContext<unknown>, call: () => Promise<unknown>): Promise<CallError> {
  const error = await t.throwsAsync(call);
  if (!(error instanceof CallError)) throw error ?? new Error('the call succeeded');
  return error;
}

/** Checks that the call is refused just so and that nothing was recorded. No other call may write meanwhile. */
export async function refused(
  t: ExecutionContext<unknown>,
  server: Pick<TestServer, 'end'>,
  call: () => Promise<unknown>,
  { code, reason, field, naming }: Refusal,
): Promise<void> {
  const before = await server.end();
  const error = await failure(t, call);
  const seen = { code: status[error.code], reason: error.reason, fields: error.fields };
  t.deepEqual(seen, { code, reason, fields: field === undefined ? [] : [field] }, error.message);
  if (typeof naming === 'string') t.true(error.message.includes(naming), `${error.message} does not hold ${naming}`);
  else if (naming) t.regex(error.message, naming);
  t.is(await server.end(), before, `${error.message}: something was recorded`);
}
