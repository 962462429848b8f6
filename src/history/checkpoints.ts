import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type CheckpointSigned, CheckpointSignedSchema } from '../../gen/memoir/events/v1/events_pb.js';
import type { HistoryModel } from '../../projections/history/history-model.js';
import { MemoirError, quote } from '../domain/errors.js';
import type { TreeHead } from '../domain/log-tree/check-proof.js';
import { parseCheckpoint } from '../domain/log-tree/checkpoint.js';
import { rootOf } from '../domain/log-tree/proof.js';
import { parseNote } from '../domain/log-tree/signed-note.js';
import { checkpointStream } from '../domain/streams.js';
import type { Edge } from '../edge.js';
import { judged, lastFirst } from '../eventstore/foreign.js';
import { lastOfStream } from '../eventstore/last-event.js';
import { type EventStore, type RecordedEvent, WrongExpectedRevision } from '../eventstore/port.js';
import { serverItself } from '../jobs/caller.js';
import { eventOfCall } from '../jobs/event-of-call.js';
import type { CheckpointSigner } from './checkpoint-key.js';
import { upToDate } from './up-to-date.js';

/** What checkpoints are made of. */
export type CheckpointsContext = {
  readonly store: EventStore;
  readonly history: HistoryModel;
  readonly edge: Edge;
  readonly serverVersion: string;
};

/** A tree and the note that says so. */
export type SignedHead = TreeHead & { readonly note: string };

/** Signs checkpoints of the log. */
export type Checkpoints = {
  /**
   * A checkpoint of everything that is in the log now.
   * @throws MemoirError UNAVAILABLE as `upToDate`; DATA_LOSS LOG_CONTRADICTED if the log is not what its last recorded checkpoint
   * says that it was: nothing is signed then
   */
  sign(signal?: AbortSignal): Promise<SignedHead>;
  /**
   * Records a checkpoint in the log if something else was recorded since the last one, and tells whether it did. Where another server
   * records one at the same moment, that is enough. Throws as `sign`.
   */
  record(signal?: AbortSignal): Promise<boolean>;
  /** The event of the last recorded checkpoint, if there is any. */
  last(): Promise<RecordedEvent | undefined>;
};

/** Checkpoints by one key. */
export function openCheckpoints(context: CheckpointsContext, signer: CheckpointSigner): Checkpoints {
  const { store, history, edge } = context;
  let before: SignedHead | undefined;

  const last = () => lastOfStream(store, checkpointStream);

  async function lastRecorded(): Promise<Recorded | undefined> {
    let revision: number | undefined;
    for await (const recorded of lastFirst(store, checkpointStream)) {
      revision ??= recorded.revision;
      const { event } = judged(recorded);
      if (event?.$typeName === 'memoir.events.v1.CheckpointSigned') return { revision, checkpoint: event };
    }
    return revision === undefined ? undefined : { revision };
  }

  async function current(signal?: AbortSignal): Promise<SignedHead & { readonly recorded: Recorded | undefined }> {
    const recorded = await lastRecorded();
    await upToDate(history, await store.end(), signal);
    const size = history.tree.size();
    const nodes = history.tree.nodes();
    if (recorded?.checkpoint) checkNotContradicted(recorded.checkpoint, size, (older) => rootOf(nodes, older));
    if (before?.size !== size) {
      const head = { size, root: rootOf(nodes, size) };
      before = { ...head, note: signer.sign(head) };
    }
    return { ...before, recorded };
  }

  return {
    last,
    async sign(signal) {
      const { size, root, note } = await current(signal);
      return { size, root, note };
    },
    async record(signal) {
      const { size, note, recorded } = await current(signal);
      // The last checkpoint is itself an event that it is not of.
      if (size === 0 || (recorded?.checkpoint && size - Number(recorded.checkpoint.treeSize) <= 1)) return false;
      const event = create(CheckpointSignedSchema, {
        note,
        treeSize: BigInt(size),
        key: signer.key.text,
        signedAt: timestampFromMs(edge.now()),
      });
      try {
        const expected = recorded ? recorded.revision : 'no_stream';
        await store.append(checkpointStream, expected, [eventOfCall(context, serverItself(edge), event)]);
        return true;
      } catch (error) {
        if (error instanceof WrongExpectedRevision) return false;
        throw error;
      }
    },
  };
}

/** The last revision of the stream of checkpoints, and the last checkpoint there, if there is one. */
type Recorded = { readonly revision: number; readonly checkpoint?: CheckpointSigned };

/** A log that lost its end, or is another one, must not be signed as if nothing had happened. */
function checkNotContradicted({ note }: CheckpointSigned, size: number, rootAt: (size: number) => Uint8Array): void {
  const { origin, size: older, root } = parseCheckpoint(parseNote(note).text);
  if (older <= size && Buffer.compare(rootAt(older), root) === 0) return;
  throw new MemoirError(
    'DATA_LOSS',
    'LOG_CONTRADICTED',
    `the log is not what its checkpoint of ${quote(origin)} at ${older} events says; run memoir audit verify before anything else`,
  );
}
