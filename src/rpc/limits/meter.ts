import { setTimeout as delay } from 'node:timers/promises';
import type { DescMethod } from '@bufbuild/protobuf';
import type { CallContext, ServerCall } from '../call.js';
import { kindOf } from './kinds-of-call.js';
import type { Limiter } from './limiter.js';

/** Messages of fewer bytes are bounded well enough by the number of calls. */
const leastBytes = 4_096;

/** Longest time that a stream waits for one message, in milliseconds. */
const longestPause = 1_000;

/** Counts the bytes of a call's messages against its caller. */
export type Meter = {
  /** Counts a message. @returns what a stream is to wait for before it goes on; undefined for nothing */
  count(call: Pick<ServerCall, 'getPeer'>, context: CallContext, message: Uint8Array): Promise<void> | undefined;
};

/**
 * Meters for methods, none for those of reports. `named` says whether principals are of anybody in particular.
 */
export function meters(limiter: Limiter, named: boolean): (method: DescMethod) => Meter | undefined {
  const meter: Meter = {
    count(call, context, { length }) {
      if (length < leastBytes) return undefined;
      const principal = named ? context.caller.principal : undefined;
      const wait = limiter.took({ principal, address: named ? '' : addressOf(call.getPeer()) }, length);
      if (wait === 0) return undefined;
      // Its signal is made when it is asked for, which has its price.
      return delay(Math.min(wait, longestPause), undefined, { signal: context.signal }).catch(() => undefined);
    },
  };
  return (method) => (kindOf(method) === 'report' ? undefined : meter);
}

/** The address of a peer, which is told with its port. */
function addressOf(peer: string): string {
  return peer.slice(0, peer.lastIndexOf(':')).replace(/^\[|\]$/g, '');
}
