import { isUnreachable, reasonOf, unavailable } from './failure.js';
import type { KurrentOptions, KurrentTimings } from './options.js';
import type { Reachability } from './reachability.js';

/** Most kinds of trouble that are remembered. */
const mostKinds = 100;

/** Tells of failures that are tried again. `what` begins with a verb, such as "append to stream …". */
export type Trouble = {
  /**
   * The first of a kind is told at once, with what the nodes themselves say if they cannot be reached, and those like it once in a while with
   * their number.
   */
  tell(what: string, error: unknown): void;
  /** Takes note that this went well: the next failure of it is news. */
  well(what: string): void;
};

/** Tells of trouble with the nodes at `address`. */
export function troubleOf(
  address: string,
  { edge, onTrouble }: KurrentOptions,
  { repeatAfter }: Pick<KurrentTimings, 'repeatAfter'>,
  reachability: Reachability,
): Trouble {
  const told = new Map<string, { at: number; more: number }>();

  async function say(what: string, error: unknown, more: number): Promise<void> {
    const obstacle = isUnreachable(error) ? await reachability.obstacle() : undefined;
    const { message } = obstacle
      ? new Error(`KurrentDB at ${address} cannot ${what}: ${obstacle.why}`)
      : unavailable(address, what, error);
    onTrouble?.(more === 0 ? message : `${message} (and ${more} times since the last message like this)`);
  }

  const verbOf = (what: string) => `${what.split(' ', 1)[0]} `;

  return {
    tell(what, error) {
      if (!onTrouble) return;
      const now = edge.monotonic();
      const kind = verbOf(what) + reasonOf(error);
      const before = told.get(kind);
      if (before && now - before.at < repeatAfter) {
        before.more++;
        return;
      }
      if (told.size >= mostKinds) told.clear();
      told.set(kind, { at: now, more: 0 });
      void say(what, error, before?.more ?? 0);
    },
    well(what) {
      if (told.size === 0) return;
      for (const kind of told.keys()) if (kind.startsWith(verbOf(what))) told.delete(kind);
    },
  };
}
