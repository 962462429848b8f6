import { create } from '@bufbuild/protobuf';
import {
  type AuditService,
  GetCheckpointResponseSchema,
  GetConsistencyProofResponseSchema,
  type GetInclusionProofRequest,
  GetInclusionProofResponseSchema,
} from '../../gen/memoir/audit/v1/audit_service_pb.js';
import { invalid, MemoirError, quote } from '../domain/errors.js';
import { leafText, leafTextHash } from '../domain/log-tree/leaf.js';
import { consistencyProof, inclusionProof, rootOf } from '../domain/log-tree/proof.js';
import { streamPrefixes, uuidOfAnyJobStream } from '../domain/streams.js';
import { principalOf, type RecordedEvent } from '../eventstore/port.js';
import type { CheckpointSigner } from '../history/checkpoint-key.js';
import type { Checkpoints } from '../history/checkpoints.js';
import { eventFacts } from '../history/event-facts.js';
import { mayRead } from '../history/may-read.js';
import { upToDate } from '../history/up-to-date.js';
import type { Caller } from '../jobs/caller.js';
import type { JobsContext } from '../jobs/context.js';
import { checkRequired } from '../jobs/limits.js';
import { uuidFor } from '../jobs/reading/permit.js';
import type { CallContext } from './call.js';
import type { Implementation } from './service.js';
import { seeToken, tokenOf } from './tokens.js';

/** Longest name of a stream that is looked up, in bytes of UTF-8. */
const longestStream = 512;

/** Longest text of a leaf in an answer, in bytes: with the proof beside it, it fits into the 4 MiB that clients accept. */
const longestLeafText = 4 * 1024 * 1024 - 64 * 1024;

/** What proofs and checkpoints are given by. */
export type AuditParts = { readonly checkpoints: Checkpoints; readonly signer: CheckpointSigner };

/** memoir.audit.v1.AuditService. */
export function auditService(
  { store, readModel, history }: Pick<JobsContext, 'store' | 'readModel' | 'history'>,
  { checkpoints, signer }: AuditParts,
): Implementation<typeof AuditService> {
  /** The event, if the caller may read it. */
  async function readableEvent(request: GetInclusionProofRequest, call: CallContext): Promise<RecordedEvent> {
    const recorded = await requested(request, call);
    if (recorded) {
      await seeToken(tokenOf(readModel, recorded.position), store, readModel, call);
      if (eventFacts(readModel, recorded).readableBy(call.caller.access)) return recorded;
    }
    throw new MemoirError('NOT_FOUND', 'EVENT_NOT_FOUND', `there is no event ${nameOf(request)}`, { field: 'event' });
  }

  async function requested(
    { event }: GetInclusionProofRequest,
    { caller: { access }, signal }: CallContext,
  ): Promise<RecordedEvent | undefined> {
    if (event.case === 'position') {
      const position = Number(event.value);
      if (position < 1 || !Number.isSafeInteger(position) || position > (await store.end())) return undefined;
      await upToDate(readModel, position, signal);
      await upToDate(history, position, signal);
      // What may not be read is not read, and neither is what is not there.
      if (history.tree.indexOf(position) === undefined || !mayRead({ readModel, history }, access)(position))
        return undefined;
      const found = await store.eventAt(position);
      return found && isOurs(found.stream) ? found : undefined;
    }
    if (event.case === 'streamEvent') {
      const { stream, revision } = event.value;
      checkRequired('stream_event.stream', stream, longestStream);
      if (!isOurs(stream)) return undefined;
      const uuid = uuidOfAnyJobStream(stream);
      // What may not be known of is not read.
      const visible = uuid === undefined ? stream : stream.replace(uuid, uuidFor(access, readModel, uuid));
      for await (const found of store.readStream(visible, revision, { limit: 1 })) {
        return found.revision === revision ? found : undefined;
      }
      return undefined;
    }
    throw invalid('event', 'REQUIRED', 'event is required: a position, or a stream and a revision');
  }

  /** The size that was asked for, or that of the newest tree. */
  async function sizeOf(field: string, asked: bigint, signal: AbortSignal): Promise<number> {
    if (asked === 0n || asked > BigInt(history.tree.size())) await upToDate(history, await store.end(), signal);
    const newest = history.tree.size();
    if (asked > BigInt(newest)) {
      throw invalid(field, 'OUT_OF_RANGE', `${field} ${asked} is more than the ${newest} events of the log`);
    }
    return Number(asked) || newest;
  }

  return {
    async getCheckpoint({ consistencyToken }, call) {
      await seeToken(consistencyToken, store, readModel, call);
      const { note, size, root } = await checkpoints.sign(call.signal);
      return create(GetCheckpointResponseSchema, { note, key: signer.key.text, treeSize: BigInt(size), root });
    },

    async getInclusionProof(request, call) {
      const recorded = await readableEvent(request, call);
      await upToDate(history, recorded.position, call.signal);
      const size = await sizeOf('tree_size', request.treeSize, call.signal);
      const index = history.tree.indexOf(recorded.position);
      if (index === undefined) throw new Error(`the event at position ${recorded.position} is not in the log's tree`);
      if (index >= size) {
        const message = `tree_size ${size} is too small for the event ${nameOf(request)}, which is leaf ${index}`;
        throw invalid('tree_size', 'OUT_OF_RANGE', message);
      }
      const nodes = history.tree.nodes();
      const text = leafText(recorded);
      return create(GetInclusionProofResponseSchema, {
        leafIndex: BigInt(index),
        treeSize: BigInt(size),
        root: rootOf(nodes, size),
        hashes: inclusionProof(nodes, index, size),
        leafHash: leafTextHash(text),
        ...(mayReadText(call.caller, recorded) && Buffer.byteLength(text) <= longestLeafText && { leafText: text }),
        position: BigInt(recorded.position),
      });
    },

    async getConsistencyProof({ fromSize, toSize }, { signal }) {
      const to = await sizeOf('to_size', toSize, signal);
      if (fromSize > BigInt(to)) {
        throw invalid('from_size', 'OUT_OF_RANGE', `from_size ${fromSize} is more than to_size, which is ${to}`);
      }
      return create(GetConsistencyProofResponseSchema, {
        fromSize,
        toSize: BigInt(to),
        hashes: consistencyProof(history.tree.nodes(), Number(fromSize), to),
      });
    },
  };
}

/** Whether a caller may read an event as it is stored, with what only its own principal may know of. */
function mayReadText({ principal, access }: Caller, recorded: RecordedEvent): boolean {
  if (principalOf(recorded) === principal) return true;
  // To whom workers grant secrets is for admins of all repositories.
  const tellsGrants = recorded.type === 'WorkerSeen' && recorded.data.includes('"secrets":');
  return tellsGrants ? access.administersAll : access.readsAll;
}

function isOurs(stream: string): boolean {
  return streamPrefixes.some((prefix) => stream.startsWith(prefix));
}

function nameOf({ event }: GetInclusionProofRequest): string {
  if (event.case === 'streamEvent') return `${event.value.revision} of stream ${quote(event.value.stream)}`;
  return `at position ${event.value ?? 0n}`;
}
