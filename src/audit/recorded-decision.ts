import type { JobJoined, JobRequested, JobReused } from '../../gen/memoir/events/v1/events_pb.js';
import { type Decision, type DecisionBasis, Outcome } from '../../gen/memoir/jobs/v1/decision_pb.js';
import { decodeEvent } from '../eventstore/codec.js';
import { foreignEnvelope, whyForeign } from '../eventstore/foreign.js';
import type { RecordedEvent } from '../eventstore/port.js';

/** A decision as the log has it. */
export type RecordedDecision = {
  readonly recorded: RecordedEvent;
  readonly event: JobRequested | JobReused | JobJoined;
  readonly decision: Decision;
  /** Absent of a decision that an older version recorded. */
  readonly basis: DecisionBasis | undefined;
  /** Who asked. */
  readonly principal: string;
};

/** An event that ought to have a decision, and cannot be read. */
export type UnreadableDecision = { readonly recorded: RecordedEvent; readonly unreadable: string };

/**
 * The decision in an event; undefined if it has none, or one that looked for no past job. Of an event that Memoir wrote, one that cannot be
 * read is told as such, whatever else of the event is spoilt: nobody would miss it otherwise.
 */
export function recordedDecision(recorded: RecordedEvent): RecordedDecision | UnreadableDecision | undefined {
  if (!holdsDecision(recorded.type)) return undefined;
  if (foreignEnvelope(recorded) !== undefined) return undefined;
  let event: RecordedDecision['event'];
  try {
    event = decodeEvent(recorded) as RecordedDecision['event'];
  } catch (error) {
    return { recorded, unreadable: (error as Error).message };
  }
  // What stands where it cannot be is passed over by every reader.
  if (whyForeign(recorded) !== undefined) return undefined;
  const { decision, basis } = event;
  if (!decision || decision.outcome === Outcome.CREATED_AS_ASKED) return undefined;
  return { recorded, event, decision, basis, principal: principalOf(event) };
}

/** Types of the events that hold decisions. */
const decided: ReadonlySet<string> = new Set(['JobRequested', 'JobReused', 'JobJoined']);

/** Whether events of a type hold a decision. */
export function holdsDecision(type: string): boolean {
  return decided.has(type);
}

function principalOf(event: RecordedDecision['event']): string {
  if (event.$typeName === 'memoir.events.v1.JobRequested') return event.owner;
  return event.$typeName === 'memoir.events.v1.JobReused' ? event.requestedBy : event.principal;
}
