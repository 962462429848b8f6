import { setTimeout as delay } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import type { ReadModel } from '../../../projections/read-model/read-model.js';
import { jobStream } from '../../domain/streams.js';
import { type EventStore, StreamDeleted } from '../../eventstore/port.js';

/** How many damaged jobs are remembered. */
const remembered = 100_000;

/** How long a read waits to learn whether its job is damaged, in milliseconds: it must not fail because the store is away. */
const longestLook = 500;

/** Which jobs are known to be damaged: somebody deleted or truncated their streams, where others may write the store. */
export type DamagedJobs = {
  /** Takes note of one that was found so. */
  note(uuid: string): void;
  /** Whether a job was found damaged before by this process. */
  noted(uuid: string): boolean;
  /** Whether a job was found damaged before, or the log says that its stream was deleted for good. */
  has(uuid: string): boolean;
  /** The same, after a look at how its stream begins, if the store answers soon. */
  look(uuid: string): Promise<boolean>;
};

/** Knows of none but those that the read model has. */
export function damagedJobs(
  store: Pick<EventStore, 'exclusive' | 'readStream'>,
  readModel: Pick<ReadModel, 'tombstones'>,
): DamagedJobs {
  const found = new LRUCache<string, true>({ maxSize: remembered, sizeCalculation: () => 1 });
  const has = (uuid: string) => !store.exclusive && (found.has(uuid) || readModel.tombstones.has(uuid));

  async function beginsElsewhere(uuid: string): Promise<boolean> {
    try {
      for await (const { revision } of store.readStream(jobStream(uuid), 0, { limit: 1 })) return revision !== 0;
      return true;
    } catch (error) {
      return error instanceof StreamDeleted;
    }
  }

  return {
    note: (uuid) => void found.set(uuid, true),
    noted: (uuid) => found.has(uuid),
    has,
    async look(uuid) {
      if (store.exclusive || has(uuid)) return has(uuid);
      const looking = beginsElsewhere(uuid).then((damaged) => {
        if (damaged) found.set(uuid, true);
      });
      await Promise.race([looking, delay(longestLook, undefined, { ref: false })]);
      return has(uuid);
    },
  };
}
