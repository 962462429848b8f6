import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { ContentStoredSchema } from '../../../gen/memoir/events/v1/events_pb.js';
import type { Digest } from '../../../gen/memoir/jobs/v1/digest_pb.js';
import { contentStream } from '../../domain/streams.js';
import type { Edge } from '../../edge.js';
import { judged, lastFirst } from '../../eventstore/foreign.js';
import { type EventStore, type ExpectedRevision, WrongExpectedRevision } from '../../eventstore/port.js';
import type { Caller } from '../caller.js';
import { contended } from '../contention.js';
import { eventOfCall } from '../event-of-call.js';

/** Content that is there, all of it, and which attempt of which job brought it. */
export type Stored = { readonly digest: Digest; readonly job: string; readonly attempt: number };

/** How often it is tried where others write into the stream. */
const maxAttempts = 5;

/** Records that servers keep some content from here on, unless that stands there already. */
export async function recordStored(
  context: { readonly store: EventStore; readonly edge: Edge; readonly serverVersion: string },
  caller: Caller,
  { digest, job, attempt }: Stored,
): Promise<void> {
  const { store, edge } = context;
  const stream = contentStream(digest.hash);
  const event = create(ContentStoredSchema, {
    digest,
    principal: caller.principal,
    job,
    attempt,
    storedAt: timestampFromMs(edge.now()),
  });
  let expected: ExpectedRevision = 'no_stream';
  for (let i = 0; i < maxAttempts; i++) {
    try {
      await store.append(stream, expected, [eventOfCall(context, caller, event)]);
      return;
    } catch (error) {
      if (!(error instanceof WrongExpectedRevision)) throw error;
    }
    expected = 'no_stream';
    for await (const recorded of lastFirst(store, stream)) {
      if (judged(recorded).event) return;
      if (expected === 'no_stream') expected = recorded.revision;
    }
  }
  throw contended('others write what is known of the same content');
}
