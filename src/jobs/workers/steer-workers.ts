import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  QueuePausedSchema,
  QueueResumedSchema,
  WorkerDrainedSchema,
  WorkerUndrainedSchema,
} from '../../../gen/memoir/events/v1/events_pb.js';
import type { PauseRow, WorkerId, WorkerRow } from '../../../projections/read-model/workers.js';
import { invalid, MemoirError, quote } from '../../domain/errors.js';
import type { MemoirEvent } from '../../domain/events.js';
import { workerDigest } from '../../domain/placement/worker-digest.js';
import { repositoryGlobs } from '../../domain/repositories/repository-glob.js';
import { queuePausesStream, workerStream } from '../../domain/streams.js';
import type { Position } from '../../eventstore/port.js';
import type { Caller } from '../caller.js';
import type { JobsContext } from '../context.js';
import { eventOfCall } from '../event-of-call.js';
import { keyedLock } from '../keyed-lock.js';
import { denied } from '../reading/permit.js';

/** What was done, and whoever has read up to `position` sees it. */
export type Steered<What> = { readonly what: What; readonly position: Position };

/** Keeps jobs from workers, and gives them again. All of it is repeated without harm. */
export type SteerWorkers = {
  /** @throws MemoirError PERMISSION_DENIED, or NOT_FOUND if no such worker was seen */
  drain(caller: Caller, id: WorkerId, reason: string): Promise<Steered<WorkerRow>>;
  /** @throws MemoirError as `drain` */
  undrain(caller: Caller, id: WorkerId): Promise<Steered<WorkerRow>>;
  /** @throws MemoirError INVALID_ARGUMENT if it is no glob, or PERMISSION_DENIED */
  pause(caller: Caller, repositories: string, reason: string): Promise<Steered<PauseRow>>;
  /** @throws MemoirError as `pause`, or NOT_FOUND if nothing was ever paused by the glob */
  resume(caller: Caller, repositories: string): Promise<Steered<undefined>>;
};

/** What is steered with. When a call is answered, claims at this server obey it; others do as soon as they have read it. */
export function steerWorkers(
  context: Pick<JobsContext, 'store' | 'readModel' | 'written' | 'edge' | 'serverVersion'>,
): SteerWorkers {
  const { store, readModel, written, edge } = context;
  const serially = keyedLock();

  async function record(caller: Caller, stream: string, event: MemoirEvent): Promise<Position> {
    const { position } = await store.append(stream, 'any', [eventOfCall(context, caller, event)]);
    await written.catchUp(position);
    return position;
  }

  /** Decides by what is in the log now, one after the other. */
  async function upToDate<T>(stream: string, decide: () => Promise<T>): Promise<T> {
    return serially(stream, async () => {
      await written.catchUp(await store.end());
      return decide();
    });
  }

  async function steer(
    caller: Caller,
    id: WorkerId,
    drained: boolean,
    event: MemoirEvent,
  ): Promise<Steered<WorkerRow>> {
    const { principal } = caller;
    if (!caller.access.administersAll)
      throw denied({ principal }, 'drain workers: that is for admins of all repositories');
    const stream = workerStream(workerDigest(id));
    return upToDate(stream, async () => {
      const now = known(id);
      if (now.drained === drained) return { what: now, position: readModel.position() };
      const position = await record(caller, stream, event);
      return { what: known(id), position };
    });
  }

  function known(id: WorkerId): WorkerRow {
    const row = readModel.workers.get(id);
    if (row) return row;
    throw new MemoirError(
      'NOT_FOUND',
      'UNKNOWN_WORKER',
      `no worker ${quote(id.workerName)} of ${quote(id.principal)} was seen`,
    );
  }

  return {
    drain: (caller, id, reason) =>
      steer(
        caller,
        id,
        true,
        create(WorkerDrainedSchema, {
          ...id,
          reason,
          drainedBy: caller.principal,
          drainedAt: timestampFromMs(edge.now()),
        }),
      ),
    undrain: (caller, id) =>
      steer(
        caller,
        id,
        false,
        create(WorkerUndrainedSchema, {
          ...id,
          undrainedBy: caller.principal,
          undrainedAt: timestampFromMs(edge.now()),
        }),
      ),
    async pause(caller, repositories, reason) {
      checkMayPause(caller, repositories);
      return upToDate(queuePausesStream, async () => {
        const now = readModel.workers.pause(repositories);
        if (now && !now.resumed) return { what: now, position: readModel.position() };
        const event = create(QueuePausedSchema, {
          repositories,
          reason,
          pausedBy: caller.principal,
          pausedAt: timestampFromMs(edge.now()),
        });
        const position = await record(caller, queuePausesStream, event);
        return { what: readModel.workers.pause(repositories) as PauseRow, position };
      });
    },
    async resume(caller, repositories) {
      checkMayPause(caller, repositories);
      return upToDate(queuePausesStream, async () => {
        const now = readModel.workers.pause(repositories);
        if (!now) {
          const message = `nothing was ever paused by ${quote(repositories)}`;
          throw new MemoirError('NOT_FOUND', 'UNKNOWN_PAUSE', message);
        }
        if (now.resumed) return { what: undefined, position: readModel.position() };
        const event = create(QueueResumedSchema, {
          repositories,
          resumedBy: caller.principal,
          resumedAt: timestampFromMs(edge.now()),
        });
        return { what: undefined, position: await record(caller, queuePausesStream, event) };
      });
    },
  };
}

/** @throws MemoirError INVALID_ARGUMENT if the text is no glob, PERMISSION_DENIED if the caller may not pause what it takes in */
function checkMayPause({ principal, access }: Caller, repositories: string): void {
  if (repositoryGlobs([repositories]) === undefined) {
    throw invalid(
      'repositories',
      'BAD_GLOB',
      `repositories ${quote(repositories)} is no glob of letters, digits, ".", "_", "-", "/", "*" and "?"`,
    );
  }
  if (access.administersAll) return;
  if (!/[*?]/.test(repositories) && access.administers(repositories)) return;
  throw denied(
    { principal },
    `pause ${quote(repositories)}: that is for its admins, and of globs for admins of all repositories`,
  );
}
