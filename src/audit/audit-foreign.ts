import { LRUCache } from 'lru-cache';
import { jobStream } from '../domain/streams.js';
import { decodeEvent } from '../eventstore/codec.js';
import { whyForeign } from '../eventstore/foreign.js';
import { type EventLog, type Position, type RecordedEvent, StreamDeleted } from '../eventstore/port.js';
import { holdsDecision } from './recorded-decision.js';

/** What is in the log although no server passes it on, or a stream that does not begin where it must. */
export type ForeignFinding = Pick<RecordedEvent, 'position' | 'stream' | 'revision' | 'id' | 'type'> & {
  readonly kind: 'foreign' | 'unexplained' | 'damaged';
  readonly why: string;
};

/** Streams of jobs that are not looked at again; a job's events are near each other. */
const remembered = 100_000;

/** What was found in a log up to its end. */
export type ForeignReport = { readonly to: Position; readonly events: number; readonly findings: number };

/**
 * Names every event that readers of the log pass over, every decision that cannot be read, and every stream of a job that does not begin
 * with its request.
 */
export async function auditForeign(
  log: EventLog,
  onFinding: (finding: ForeignFinding) => Promise<void> | void,
  onProgress: (position: Position, end: Position) => void = () => undefined,
): Promise<ForeignReport> {
  const end = await log.end();
  const seen = new LRUCache<string, true>({ maxSize: remembered, sizeCalculation: () => 1 });
  let events = 0;
  let findings = 0;
  for await (const recorded of log.readAll()) {
    const { position, stream, revision, id, type } = recorded;
    if (position > end) break;
    events++;
    onProgress(position, end);
    const finding = judge(recorded) ?? (await beginning(log, recorded, seen));
    if (!finding) continue;
    findings++;
    await onFinding({ position, stream, revision, id, type, ...finding });
  }
  return { to: end, events, findings };
}

type Found = Pick<ForeignFinding, 'kind' | 'why'>;

function judge(recorded: RecordedEvent): Found | undefined {
  const why = whyForeign(recorded);
  if (why !== undefined) return { kind: 'foreign', why };
  if (!holdsDecision(recorded.type)) return undefined;
  try {
    decodeEvent(recorded);
    return undefined;
  } catch (error) {
    return { kind: 'unexplained', why: `its decision cannot be read: ${(error as Error).message}` };
  }
}

/** That the stream of a job does not begin with its first event, told once. */
async function beginning(
  log: EventLog,
  { stream, revision }: RecordedEvent,
  seen: LRUCache<string, true>,
): Promise<Found | undefined> {
  if (!stream.startsWith(jobStream('')) || seen.has(stream)) return undefined;
  seen.set(stream, true);
  try {
    for await (const first of log.readStream(stream, 0, { limit: 1 })) if (first.revision === 0) return undefined;
  } catch (error) {
    if (!(error instanceof StreamDeleted)) throw error;
  }
  const why = `the stream of the job does not begin with its request any more; its event ${revision} is in the log`;
  return { kind: 'damaged', why };
}
