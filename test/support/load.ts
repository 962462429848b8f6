import type { CallError } from '../../src/rpc/call-error.js';
import { type Clients, clientsOf } from './server.js';

/** A write that the server acknowledged: the event that must be in the log, and where. */
export type Acknowledged = {
  readonly position: number;
  readonly stream: string;
  readonly type: string;
  /** The event that may be there in its place, or before: an unfinished job is joined, unless that is so already. */
  readonly or?: { readonly stream: string; readonly type: string; readonly submitId: string };
};

/** A request of a job under a submit_id, answered or not. */
export type Asked = { readonly submitId: string; readonly i: number; readonly findOrCreate: boolean };

/** Clients and workers that call a server as fast as it answers. */
export type Load = {
  readonly acknowledged: readonly Acknowledged[];
  /** Requests of jobs that were sent. */
  readonly asked: readonly Asked[];
  /** Bytes of live logs that were acknowledged, by uuid. */
  readonly logged: ReadonlyMap<string, number>;
  /** Heartbeats that were acknowledged while the job ran, by uuid. */
  readonly heartbeats: ReadonlyMap<string, number>;
  /** Refusals that a server in good health never gives. */
  readonly wrong: readonly Error[];
  /** Resolves when so many writes are acknowledged. */
  reached(count: number): Promise<void>;
  /** Takes the errors from now on for those of a server that is gone; resolves when every loop has ended. */
  end(): Promise<void>;
};

const lease = { seconds: 3_600n };

/** The request that `asked` is; the same every time. */
export function ask(clients: Clients, { submitId, i, findOrCreate }: Asked) {
  const work = { repository: 'project', script: 'run.sh', scriptVersion: 'main' };
  return clients.jobs.createJob({ ...work, submitId, findOrCreate, scriptParameters: { i } });
}

/** Starts the load. `prefix` makes its submit_ids and workers its own; computations are shared by all. */
export function startLoad(address: string, prefix: string, random = Math.random): Load {
  const acknowledged: Acknowledged[] = [];
  const asked: Asked[] = [];
  const logged = new Map<string, number>();
  const heartbeats = new Map<string, number>();
  const wrong: Error[] = [];
  const known: string[] = [];
  let over = false;
  let news = () => {};

  function note(consistencyToken: string, stream: string, type: string, or?: Acknowledged['or']) {
    acknowledged.push({ position: Number(consistencyToken), stream, type, ...(or && { or }) });
    news();
  }

  const loop = async (principal: string, step: (clients: Clients) => Promise<void>) => {
    const clients = clientsOf(address, principal);
    while (!over) {
      try {
        await step(clients);
      } catch (error) {
        // FAILED_PRECONDITION and NOT_FOUND: another loop was faster.
        if (!over && ![9, 5].includes((error as CallError).code)) {
          // The kill may be noticed here before it is told.
          await new Promise((resolve) => setTimeout(resolve, 300));
          if (!over) wrong.push(error as Error);
        }
      }
    }
    clients.close();
  };

  const create = async (clients: Clients) => {
    const of: Asked = {
      submitId: `${prefix}-${asked.length}`,
      i: Math.floor(random() * 40),
      findOrCreate: random() < 0.7,
    };
    asked.push(of);
    const { job, reused, consistencyToken } = await ask(clients, of);
    const uuid = job?.uuid ?? '';
    known.push(uuid);
    const joined = { stream: `job-${uuid}`, type: 'JobJoined', submitId: of.submitId };
    if (reused) note(consistencyToken, `reuse-${uuid}`, 'JobReused', joined);
    else note(consistencyToken, `job-${uuid}`, 'JobRequested');
  };

  const work = async ({ worker }: Clients) => {
    const claimed = await worker.claimJob({ lease, wait: { nanos: 100_000_000 } });
    const uuid = claimed.job?.uuid;
    if (!uuid) return;
    note(claimed.consistencyToken, `job-${uuid}`, 'JobStarted');
    const { state } = await worker.heartbeat({ uuid, progress: 0.5 });
    if (state === 2) heartbeats.set(uuid, (heartbeats.get(uuid) ?? 0) + 1);
    const { size } = await worker.appendJobLog([{ uuid, text: 'one\n' }, { text: 'two\n' }]);
    logged.set(uuid, Number(size));
    if (random() < 0.2) {
      const { consistencyToken } = await worker.failJob({ uuid, reason: 'X' });
      note(consistencyToken, `job-${uuid}`, 'JobFailed');
    } else {
      const { consistencyToken } = await worker.completeJob({ uuid, output: `o${Math.floor(random() * 2)}`, log: 'l' });
      note(consistencyToken, `job-${uuid}`, 'JobCompleted');
    }
  };

  const steer = async ({ jobs }: Clients) => {
    const uuid = known[Math.floor(random() * known.length)];
    if (!uuid) return new Promise<void>((resolve) => setTimeout(resolve, 10));
    const kind = random();
    if (kind < 0.6) {
      const job = { uuid, priority: Math.floor(random() * 9) };
      const { consistencyToken } = await jobs.updateJob({ job, updateMask: { paths: ['priority'] } });
      note(consistencyToken, `job-${uuid}`, 'JobUpdated');
    } else if (kind < 0.8) {
      const { cancelledUuids, consistencyToken } = await jobs.cancelJob({ uuid });
      if (cancelledUuids.length > 0) note(consistencyToken, `job-${uuid}`, 'JobCancelled');
    } else {
      const { consistencyToken } = await jobs.deleteJob({ uuid });
      note(consistencyToken, `job-${uuid}`, 'JobDeleted');
    }
  };

  const loops = [
    ...Array.from({ length: 6 }, () => loop('ada', create)),
    ...Array.from({ length: 4 }, (_, i) => loop(`${prefix}-worker-${i}`, work)),
    ...Array.from({ length: 2 }, () => loop('ada', steer)),
  ];
  return {
    acknowledged,
    asked,
    logged,
    heartbeats,
    wrong,
    async reached(count) {
      while (acknowledged.length < count) {
        await new Promise<void>((resolve) => {
          news = resolve;
        });
      }
    },
    async end() {
      over = true;
      await Promise.all(loops);
    },
  };
}
