import type { ReadModel } from '../../projections/read-model/read-model.js';
import { type Position, start } from '../eventstore/port.js';

/** Longest wait for the read model, in milliseconds; it is behind by a few unless it is in trouble. */
const longestWait = 10_000;

/** How long a read waits for what its caller wrote, in milliseconds. */
const longestWaitForOwn = 2_000;

/** What this process wrote and the read model may not have seen yet, by a key of the writer's choice. */
export type OwnWrites = {
  /** Notes a write under `key`. */
  note(key: string, position: Position): void;
  /**
   * Resolves when the read model has what was noted under `key`.
   * @throws MemoirError UNAVAILABLE if it does not come to that in 10 s
   */
  seen(key: string): Promise<void>;
  /** Whether the read model may not have what was noted under `key`. */
  pending(key: string): boolean;
  /** Whether the read model has all that a principal had recorded by this process. */
  hasAllOf(principal: string): boolean;
  /** Waits up to 2 s for that, and tells whether it is so. @throws MemoirError UNAVAILABLE if the signal aborts first */
  seesAllOf(principal: string, signal: () => AbortSignal): Promise<boolean>;
  /** Calls `listener` when the read model was made anew: what was read of it before may have been wrong. */
  onRemade(listener: () => void): void;
  /** Calls `listener` with the key of every note to come. */
  onNote(listener: (key: string) => void): void;
  /** A position up to which the read model has everything, and everything that this process wrote was noted. */
  noted(): Position;
  /** Resolves when the read model has come to `position`; throws as `seen`. */
  catchUp(position: Position): Promise<void>;
};

/** Under what is noted what becomes of content that servers keep: it may concern any job. */
export const contentKey = 'content';

/** Under what the completion of a job is noted, for those that took its output. */
export const outputKey = (output: string): string => `output ${output}`;

/** Starts without any write. `settled` tells up to which position all writers were told of their writes and noted them, `lastOf` what a
 * principal wrote last. */
export function ownWrites(
  readModel: ReadModel,
  settled: () => Position = () => start,
  lastOf: (principal: string) => Position = () => start,
): OwnWrites {
  const last = new Map<string, Position>();
  const listeners: ((key: string) => void)[] = [];

  async function catchUp(position: Position): Promise<void> {
    if (position > readModel.position()) await readModel.waitFor(position, AbortSignal.timeout(longestWait));
  }

  /** Forgets the oldest notes, which stand first, as far as the read model has them. */
  function forget(): void {
    for (const [key, position] of last) {
      if (position > readModel.position()) return;
      last.delete(key);
    }
  }

  return {
    catchUp,
    noted: () => Math.min(readModel.position(), settled()),
    note(key, position) {
      forget();
      last.delete(key);
      last.set(key, position);
      for (const listener of listeners) listener(key);
    },
    pending(key) {
      const position = last.get(key);
      return position !== undefined && position > readModel.position();
    },
    hasAllOf: (principal) => lastOf(principal) <= readModel.position(),
    async seesAllOf(principal, signal) {
      const position = lastOf(principal);
      if (position <= readModel.position()) return true;
      const ended = signal();
      const late = AbortSignal.timeout(longestWaitForOwn);
      try {
        await readModel.waitFor(position, AbortSignal.any([ended, late]));
        return true;
      } catch (error) {
        if (!late.aborted || ended.aborted) throw error;
        return false;
      }
    },
    onRemade: (listener) => readModel.onRemade(() => listener()),
    onNote: (listener) => void listeners.push(listener),
    async seen(key) {
      const position = last.get(key);
      if (position !== undefined) await catchUp(position);
    },
  };
}
