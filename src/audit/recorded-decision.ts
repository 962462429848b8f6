import type { JobRequested, JobReused } from '../../gen/memoir/events/v1/events_pb.js';
import { type Decision, type DecisionBasis, Outcome } from '../../gen/memoir/jobs/v1/decision_pb.js';
import { decodeEvent } from '../eventstore/codec.js';
import { whyForeign } from '../eventstore/foreign.js';
import type { RecordedEvent } from '../eventstore/port.js';

/** A decision as the log has it. */
export type RecordedDecision = {
  readonly recorded: RecordedEvent;
  readonly event: JobRequested | JobReused;
  readonly decision: Decision;
  /** Absent of a decision that an older version recorded. */
  readonly basis: DecisionBasis | undefined;
  /** Who asked. */
  readonly principal: string;
};

/** The decision in an event; undefined if it has none, or one that looked for no past job. */
export function recordedDecision(recorded: RecordedEvent): RecordedDecision | undefined {
  if (recorded.type !== 'JobRequested' && recorded.type !== 'JobReused') return undefined;
  if (whyForeign(recorded) !== undefined) return undefined;
  const event = decodeEvent(recorded) as JobRequested | JobReused;
  const { decision, basis } = event;
  if (!decision || decision.outcome === Outcome.CREATED_AS_ASKED) return undefined;
  const principal = event.$typeName === 'memoir.events.v1.JobRequested' ? event.owner : event.requestedBy;
  return { recorded, event, decision, basis, principal };
}
