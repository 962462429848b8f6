import { create, toJsonString } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import { WorkerSeenSchema } from '../../../gen/memoir/events/v1/events_pb.js';
import { type Offer, OfferSchema } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import type { WorkerId } from '../../../projections/read-model/workers.js';
import { workerDigest } from '../../domain/placement/worker-digest.js';
import { workerStream } from '../../domain/streams.js';
import type { Caller } from '../caller.js';
import type { JobsContext } from '../context.js';
import { eventOfCall } from '../event-of-call.js';

/** How often it is recorded at most that a worker is there which says nothing new, in milliseconds. */
export const seenInterval = 5 * 60_000;

/** How often what a worker says is recorded at most, however often it changes, in milliseconds. */
const changeInterval = 10_000;

/** Workers whose last saying is kept. */
const remembered = 10_000;

/** What a claim says of its worker. */
export type Said = {
  readonly workerName: string;
  readonly host: string;
  readonly version: string;
  /** All that it has, if it offers anything. */
  readonly total: Offer | undefined;
  readonly repositories: readonly string[];
};

/** Takes note of a worker that claims. Never waits and never fails; one without a name is nobody to know of. */
export type SawWorker = (caller: Caller, said: Said) => void;

type Known = { readonly text: string; readonly at: number };

/** Records which workers were there: what is new at once, that they are still there at most every 5 minutes. */
export function seenWorkers(
  context: Pick<JobsContext, 'store' | 'readModel' | 'edge' | 'serverVersion' | 'sharesRuns'>,
  logger: Pick<Logger, 'warn'>,
): SawWorker {
  const { store, readModel, edge } = context;
  const known = new LRUCache<string, Known>({ maxSize: remembered, sizeCalculation: () => 1 });

  /** What was recorded of the worker last, by this server or another. */
  function recorded(id: WorkerId, digest: string): Known | undefined {
    const here = known.get(digest);
    if (here && edge.now() - here.at < seenInterval) return here;
    const row = readModel.workers.get(id);
    if (!row || row.seenAt === 0) return here;
    const { host, version, offer, repositories, recordedAt } = row;
    const there = {
      text: textOf({ workerName: id.workerName, host, version, total: offer, repositories }),
      at: recordedAt,
    };
    return here && here.at > there.at ? here : there;
  }

  async function record(caller: Caller, said: Said, digest: string, before: Known | undefined): Promise<void> {
    const now = edge.now();
    known.set(digest, { text: textOf(said), at: now });
    const { workerName, host, version, total, repositories } = said;
    const event = create(WorkerSeenSchema, {
      principal: caller.principal,
      workerName,
      host,
      version,
      repositories: [...repositories],
      seenAt: timestampFromMs(now),
      ...(total && { offer: total }),
    });
    try {
      // Whether the claim's caller still waits does not matter to it.
      const { begin: _, ...who } = caller;
      await store.append(workerStream(digest), 'any', [eventOfCall(context, who, event)]);
    } catch (error) {
      if (before) known.set(digest, before);
      else known.delete(digest);
      logger.warn({ err: error, worker: workerName }, 'that a worker is there could not be recorded');
    }
  }

  return (caller, said) => {
    if (!context.sharesRuns || said.workerName === '') return;
    const id = { principal: caller.principal, workerName: said.workerName };
    const digest = workerDigest(id);
    const before = recorded(id, digest);
    const age = before ? edge.now() - before.at : Number.POSITIVE_INFINITY;
    // A clock that went back makes nobody be seen for ever.
    if (age >= 0 && age < changeInterval) return;
    if (age >= 0 && age < seenInterval && before?.text === textOf(said)) return;
    void record(caller, said, digest, before);
  };
}

/** What is said as a text, equal for equal sayings. */
function textOf({ host, version, total, repositories }: Said): string {
  const offer = total && { ...total, labels: Object.fromEntries(Object.entries(total.labels).sort()) };
  return JSON.stringify([host, version, offer ? toJsonString(OfferSchema, offer) : '', [...repositories].sort()]);
}
