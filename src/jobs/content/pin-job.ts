import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { JobPinnedSchema, JobUnpinnedSchema } from '../../../gen/memoir/events/v1/events_pb.js';
import { quote } from '../../domain/errors.js';
import { pinStream } from '../../domain/streams.js';
import { lastOfStream } from '../../eventstore/last-event.js';
import type { Position } from '../../eventstore/port.js';
import type { Caller } from '../caller.js';
import { decidedAgain } from '../contention.js';
import type { JobsContext } from '../context.js';
import { eventOfCall } from '../event-of-call.js';
import { denied } from '../reading/permit.js';

/** A job that is pinned, or is not, up to a position of the log. `at` is since when it is, in milliseconds since 1970-01-01T00:00Z. */
export type Pinned = { readonly position: Position; readonly at: number | undefined };

/**
 * Has what a job left stay, or not any more. To do what is so already changes nothing.
 * @throws MemoirError NOT_FOUND if there is no such job or the caller may not know of it, PERMISSION_DENIED if it may not steer it
 */
export async function pinJob(context: JobsContext, caller: Caller, uuid: string, pinned: boolean): Promise<Pinned> {
  const { store, streams, readModel, written, edge } = context;
  const { job } = await streams.read(caller, uuid);
  if (!caller.access.steers(job)) throw denied(caller, `${pinned ? 'pin' : 'unpin'} job ${quote(uuid)}`);
  const now = edge.now();
  const at = timestampFromMs(now);
  const by = caller.principal;
  const event = pinned
    ? create(JobPinnedSchema, { uuid, pinnedBy: by, pinnedAt: at })
    : create(JobUnpinnedSchema, { uuid, unpinnedBy: by, unpinnedAt: at });
  return decidedAgain('others pin and unpin the job', async () => {
    const last = await lastOfStream(store, pinStream(uuid));
    await written.catchUp(last?.position ?? (await store.end()));
    const place = readModel.lineage.position(uuid);
    const before = place === undefined ? undefined : readModel.retention.pinnedAt(place);
    if ((before !== undefined) === pinned) return { position: await store.end(), at: before };
    const encoded = eventOfCall(context, caller, event);
    const { position } = await store.append(pinStream(uuid), last?.revision ?? 'no_stream', [encoded]);
    await written.catchUp(position);
    return { position, at: pinned ? now : undefined };
  });
}
