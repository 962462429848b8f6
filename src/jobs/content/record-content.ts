import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  ContentFoundSchema,
  ContentLossReason,
  ContentLostSchema,
  ContentStoredSchema,
} from '../../../gen/memoir/events/v1/events_pb.js';
import type { Digest } from '../../../gen/memoir/jobs/v1/digest_pb.js';
import type { StoreIdentity } from '../../content/content.js';
import { MemoirError } from '../../domain/errors.js';
import type { ContentEvent } from '../../domain/events.js';
import { type ContentState, evolveContent, unknownContent } from '../../domain/outputs/content-state.js';
import { contentStream } from '../../domain/streams.js';
import type { Edge } from '../../edge.js';
import { judged } from '../../eventstore/foreign.js';
import { type EventStore, type ExpectedRevision, WrongExpectedRevision } from '../../eventstore/port.js';
import type { Caller } from '../caller.js';
import { decidedAgain } from '../contention.js';
import { eventOfCall } from '../event-of-call.js';
import { contentKey, type OwnWrites } from '../own-writes.js';

/** What it is recorded with. */
export type RecordingContent = {
  readonly store: EventStore;
  readonly edge: Edge;
  readonly serverVersion: string;
  readonly written: Pick<OwnWrites, 'note'>;
};

/** Content that is there, all of it, and which attempt of which job brought it; no job if the caller put it there itself. */
export type Stored = {
  readonly digest: Digest;
  readonly job: string;
  readonly attempt: number;
  /** Bytes of all of its files. */
  readonly totalBytes: number;
  /** Address of the same files as a manifest; empty for what is no tree. */
  readonly outputV1: string;
  /** The store that it is in, where this server alone has that; else empty. */
  readonly storeId: string;
};

/** How that stands in events. */
export function storeIdOf({ id, former }: StoreIdentity): string {
  return former ? id : '';
}

/** Content of which something is missing, and what. */
export type Lost = {
  readonly digest: Digest;
  readonly reason: ContentLossReason;
  readonly missing: Digest;
  /** Where in the tree that is. */
  readonly path: string;
  readonly storeId: string;
  /** Why, for people. */
  readonly message: string;
};

/** Most principals that are recorded to have put the same content: its stream is read in full. */
const mostPuts = 10_000;

/**
 * Records that servers keep some content from here on, unless that stands there already; of what somebody put, that this one did. What was lost
 * is there again by that.
 * @throws MemoirError RESOURCE_EXHAUSTED PUT_TOO_OFTEN
 */
export async function recordStored(context: RecordingContent, caller: Caller, stored: Stored): Promise<void> {
  const { digest, job, attempt, totalBytes, outputV1, storeId } = stored;
  const event = create(ContentStoredSchema, {
    digest,
    principal: caller.principal,
    job,
    attempt,
    storedAt: timestampFromMs(context.edge.now()),
    totalBytes: BigInt(totalBytes),
    outputV1,
    storeId,
  });
  const known = ({ stored, lost, puts, stores }: ContentState) => {
    if (!stored || lost || !stores.has(storeId)) return false;
    if (job !== '') return true;
    if (!puts.has(caller.principal) && puts.size >= mostPuts) throw putTooOften();
    return puts.has(caller.principal);
  };
  await record(context, caller, digest, (state) => (known(state) ? undefined : event), true);
}

/** Records that not all of some content is there, unless that is known. @returns whether it was recorded now */
export async function recordLost(context: RecordingContent, caller: Caller, lost: Lost): Promise<boolean> {
  const event = create(ContentLostSchema, { ...lost, lostAt: timestampFromMs(context.edge.now()) });
  const known = (state: ContentState) =>
    lost.reason === ContentLossReason.ERASED ? state.erased : state.lost || !state.stored;
  return record(context, caller, lost.digest, (state) => (known(state) ? undefined : event));
}

/** Records that content is there which was lost. @returns whether it was recorded now */
export async function recordFound(
  context: RecordingContent,
  caller: Caller,
  { digest, storeId }: { readonly digest: Digest; readonly storeId: string },
): Promise<boolean> {
  const event = create(ContentFoundSchema, { digest, storeId, foundAt: timestampFromMs(context.edge.now()) });
  return record(context, caller, digest, (state) => (state.lost && !state.erased ? event : undefined));
}

/** Appends what is to be recorded by the state of the content's stream; `first` where there is none yet, most likely. */
async function record(
  context: RecordingContent,
  caller: Caller,
  { hash }: Digest,
  decide: (state: ContentState) => ContentEvent | undefined,
  first = false,
): Promise<boolean> {
  const { store, written } = context;
  const stream = contentStream(hash);
  const append = async (expected: ExpectedRevision, event: ContentEvent) => {
    const { position } = await store.append(stream, expected, [eventOfCall(context, caller, event)]);
    written.note(contentKey, position);
  };
  const unknown = first ? decide(unknownContent) : undefined;
  if (unknown) {
    try {
      await append('no_stream', unknown);
      return true;
    } catch (error) {
      if (!(error instanceof WrongExpectedRevision)) throw error;
    }
  }
  return decidedAgain('others write what is known of the same content', async () => {
    let state = unknownContent;
    let expected: ExpectedRevision = 'no_stream';
    for await (const recorded of store.readStream(stream)) {
      const { event } = judged(recorded);
      if (event) state = evolveContent(state, event as ContentEvent);
      expected = recorded.revision;
    }
    const event = decide(state);
    if (event) await append(expected, event);
    return event !== undefined;
  });
}

function putTooOften(): MemoirError {
  return new MemoirError(
    'RESOURCE_EXHAUSTED',
    'PUT_TOO_OFTEN',
    `${mostPuts} principals put the same content already, so that it is not recorded that you did`,
  );
}
