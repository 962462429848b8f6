import { durationMs, timestampMs } from '@bufbuild/protobuf/wkt';
import { jobStream } from '../domain/streams.js';
import { judged } from '../eventstore/foreign.js';
import type { EventLog, RecordedEvent } from '../eventstore/port.js';
import type { PastOfLog } from './past-of-log.js';
import type { RecordedDecision } from './recorded-decision.js';

/** By how much the clocks of a server and of its store may differ, in milliseconds. */
const clocksDiffer = 10_000;

/**
 * What speaks against a decision whose answer was not looked up in its own stream, because all of the log was known that there was so long
 * before: that the job had been deleted for longer then. Undefined if nothing does.
 */
export async function unreadTooLong(
  log: EventLog,
  past: PastOfLog,
  { recorded, event, basis }: RecordedDecision,
): Promise<string | undefined> {
  if (event.$typeName !== 'memoir.events.v1.JobReused' || !basis?.logEndWithin || !event.reusedAt) return undefined;
  if (past.at(recorded.position - 1).jobs.get(event.uuid)) return undefined;
  const deletion = await deletionOf(log, event.uuid);
  if (!deletion || deletion.position > recorded.position) return undefined;
  const within = durationMs(basis.logEndWithin);
  const since = timestampMs(event.reusedAt) - deletion.recordedAt;
  if (since <= within + clocksDiffer) return undefined;
  return `it says that the job was not looked up, since all of the log was known that there was ${within} ms before, but it had been deleted for ${since} ms, at position ${deletion.position}`;
}

async function deletionOf(log: EventLog, uuid: string): Promise<RecordedEvent | undefined> {
  for await (const recorded of log.readStream(jobStream(uuid))) {
    if (judged(recorded).event?.$typeName === 'memoir.events.v1.JobDeleted') return recorded;
  }
  return undefined;
}
