import { isUnreachable, reasonOf, unavailable } from './failure.js';
import type { KurrentOptions, KurrentTimings } from './options.js';
import type { Reachability } from './reachability.js';

/** Most kinds of trouble that are remembered. */
const mostKinds = 100;

/**
 * Tells of failures that are tried again: the first of a kind at once, with what the nodes themselves say if they cannot be reached, and
 * those like it once in a while with their number.
 */
export function troubleOf(
  address: string,
  { edge, onTrouble }: KurrentOptions,
  { repeatAfter }: Pick<KurrentTimings, 'repeatAfter'>,
  reachability: Reachability,
): (what: string, error: unknown) => void {
  const told = new Map<string, { at: number; more: number }>();

  async function tell(what: string, error: unknown, more: number): Promise<void> {
    const obstacle = isUnreachable(error) ? await reachability.obstacle() : undefined;
    const { message } = obstacle
      ? new Error(`KurrentDB at ${address} cannot ${what}: ${obstacle.why}`)
      : unavailable(address, what, error);
    onTrouble?.(more === 0 ? message : `${message} (and ${more} times since the last message like this)`);
  }

  return (what, error) => {
    if (!onTrouble) return;
    const now = edge.monotonic();
    const kind = reasonOf(error);
    const before = told.get(kind);
    if (before && now - before.at < repeatAfter) {
      before.more++;
      return;
    }
    if (told.size >= mostKinds) told.clear();
    told.set(kind, { at: now, more: 0 });
    void tell(what, error, before?.more ?? 0);
  };
}
