import type { MemoirEvent } from '../domain/events.js';
import { encodeEvent } from '../eventstore/codec.js';
import { metadataJson, type NewEvent } from '../eventstore/port.js';
import type { Caller, JobsContext } from './context.js';

/** An event as it is stored, under a new id, with who called and in which call beside it. */
export function eventOfCall(
  { edge, serverVersion }: Pick<JobsContext, 'edge' | 'serverVersion'>,
  caller: Caller,
  event: MemoirEvent,
): NewEvent {
  return encodeEvent(edge.uuid(), event, metadataJson({ ...caller, serverVersion }));
}
