import { isDeepStrictEqual } from 'node:util';
import type { ExecutionContext } from 'ava';

/**
 * As `t.deepEqual`, for values of many thousand parts, which that describes one by one before it compares: here they are described
 * only where they differ.
 */
export function same<T>(t: ExecutionContext, actual: T, expected: T, what?: string): void {
  if (isDeepStrictEqual(actual, expected)) t.pass();
  else t.deepEqual(actual, expected, what);
}
