import type { MemoirEvent } from '../domain/events.js';
import { formatNeeded } from '../domain/log-format.js';
import type { Edge } from '../edge.js';
import { encodeEvent } from '../eventstore/codec.js';
import { metadataJson, type NewEvent } from '../eventstore/port.js';
import type { Caller } from './caller.js';

/**
 * An event as it is stored, under a new id, with who called and in which call beside it. Made right before it is recorded.
 * @throws MemoirError if nobody waits for the call any more, and nothing was recorded for it
 */
export function eventOfCall(
  { edge, serverVersion }: { readonly edge: Edge; readonly serverVersion: string },
  caller: Caller,
  event: MemoirEvent,
): NewEvent {
  caller.begin?.();
  const { principal, credential, requestId, traceparent } = caller;
  const logFormat = formatNeeded(event);
  const metadata = metadataJson({
    principal,
    requestId,
    ...(traceparent && { traceparent }),
    serverVersion,
    logFormat,
    ...(credential && {
      credential: { kind: credential.kind, id: credential.id },
      actor: credential.actor?.principal,
    }),
  });
  return encodeEvent(edge.uuid(), event, metadata);
}
