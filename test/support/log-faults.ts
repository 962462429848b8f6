import { Buffer } from 'node:buffer';
import type { JobLogAppended, JobRequested } from '../../gen/memoir/events/v1/events_pb.js';
import type { JobEvent } from '../../src/domain/events.js';
import { evolve } from '../../src/domain/evolve.js';
import { decide, isFinished, type JobRecord } from '../../src/domain/job.js';
import { decodeEvent } from '../../src/eventstore/codec.js';
import type { RecordedEvent } from '../../src/eventstore/port.js';

/** What can never be in a log, however its server ended: gaps, half jobs, lives that the rules do not allow, two of one run. */
export function logFaults(events: readonly RecordedEvent[]): string[] {
  const faults: string[] = [];
  const streams = groupBy(events, ({ stream }) => stream);
  for (const [stream, those] of streams) {
    for (const [i, { revision }] of those.entries()) {
      if (revision !== i) faults.push(`${stream} has revision ${revision} at place ${i}`);
    }
    if (stream.startsWith('job-')) faults.push(...lifeFaults(stream, those));
    else if (stream.startsWith('joblog-')) faults.push(...liveLogFaults(stream, those));
    else if (!streams.has(stream.replace('reuse-', 'job-'))) faults.push(`${stream} is of a job that is not there`);
  }
  const requests = events.filter(({ type }) => type === 'JobRequested').map((e) => decodeEvent(e) as JobRequested);
  for (const [digest, runs] of groupBy(requests, ({ computationDigest }) => computationDigest)) {
    const numbers = runs.map(({ runNumber }) => runNumber);
    if (numbers.some((n, i) => n !== i + 1)) faults.push(`the runs of ${digest} are ${numbers}`);
  }
  const tries = groupBy(requests, ({ owner, submitId }) => `${owner} ${submitId}`);
  for (const [who, made] of tries) if (made.length > 1) faults.push(`${who} made ${made.length} jobs`);
  return faults;
}

function lifeFaults(stream: string, events: readonly RecordedEvent[]): string[] {
  if (events[0]?.type !== 'JobRequested') return [`${stream} begins with ${events[0]?.type}`];
  const faults: string[] = [];
  let record: JobRecord | undefined;
  for (const recorded of events) {
    const finished = record && isFinished(record.job.state);
    const changesState = !['JobUpdated', 'JobDeleted'].includes(recorded.type);
    if (finished && changesState) faults.push(`${stream} has ${recorded.type} after it had finished`);
    if (record?.deleted) faults.push(`${stream} has ${recorded.type} after it was deleted`);
    record = evolve(record, decodeEvent(recorded) as JobEvent, recorded.revision, recorded.id);
  }
  // The state that the stream leads to is one that commands can be decided on.
  decide(record, { kind: 'cancel', principal: 'x', cascadeFrom: '', now: 0 });
  return faults;
}

function liveLogFaults(stream: string, events: readonly RecordedEvent[]): string[] {
  let offset = 0;
  for (const recorded of events) {
    const piece = decodeEvent(recorded) as JobLogAppended;
    if (Number(piece.offset) !== offset) return [`${stream} goes on at ${piece.offset} after ${offset}`];
    offset += Buffer.byteLength(piece.text);
  }
  return [];
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return groups;
}
