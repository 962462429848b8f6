import type { Logger } from 'pino';
import type { RpcLimits } from './limits.js';
import type { Link } from './link.js';
import { seldom } from './seldom.js';

/** How often connections are looked at, in milliseconds, and least so. */
const mostBetweenLooks = 1_000;
const leastBetweenLooks = 25;

/** By how much of itself the age is varied at which a connection ends, so that those that came together do not all come again together. */
const ageSpread = 0.1;

/** How long connections are kept. */
export type Lifetimes = {
  begin(link: Link): void;
  end(link: Link): void;
  stop(): void;
};

type Watched = {
  /** When its age is up. */
  readonly oldAt: number;
  /** When its calls must have ended, once it takes no new ones. */
  cutAt: number | undefined;
  /** When the last question was asked whether the client is there, and since when it is not answered. */
  askedAt: number;
  waitingSince: number | undefined;
};

/**
 * Ends connections that say nothing, are of no use or have become too old. grpc-js has all of this but the first, and is not asked to: it ends a connection
 * in a way that has calls under way end as INTERNAL at the client. Here the socket is closed instead, which every client knows for a server that has gone:
 * UNAVAILABLE.
 */
export function watchLifetimes(
  limits: RpcLimits,
  { monotonic, random }: { monotonic(): number; random(): number },
  logger: Logger,
): Lifetimes {
  const { handshakeMs, keepaliveMs, keepaliveTimeoutMs, maxIdleMs, maxAgeMs, ageGraceMs } = limits;
  const watched = new Map<Link, Watched>();
  const shortest = Math.min(
    ...[handshakeMs, keepaliveMs, keepaliveTimeoutMs, maxIdleMs, maxAgeMs, ageGraceMs].filter((ms) => ms > 0),
  );
  const between = Math.min(mostBetweenLooks, Math.max(leastBetweenLooks, shortest / 4));
  const silent = seldom(monotonic, (times) =>
    logger.warn(
      { times, milliseconds: handshakeMs },
      'connections were ended that did not come to speak HTTP/2 in time',
    ),
  );

  let lastLook = monotonic();

  function look(): void {
    const now = monotonic();
    // What this process itself was held up by is no silence of its clients.
    const heldUp = Math.max(0, now - lastLook - 2 * between);
    lastLook = now;
    for (const [link, state] of watched) {
      const { session } = link;
      if (!session) {
        if (now - link.since >= handshakeMs) {
          silent();
          link.socket.destroy();
        }
        continue;
      }
      if (session.destroyed) continue;
      if (state.waitingSince !== undefined) state.waitingSince += heldUp;
      const gone = state.waitingSince !== undefined && now - state.waitingSince >= keepaliveTimeoutMs;
      if (gone || (state.cutAt !== undefined && now >= state.cutAt)) {
        link.socket.destroy();
        continue;
      }
      if (state.cutAt === undefined && isOver(link, state, now)) {
        state.cutAt = now + Math.max(ageGraceMs, between);
        // Says so to the client; ends by itself once no call is under way.
        session.close();
        continue;
      }
      if (state.waitingSince === undefined && now - state.askedAt >= keepaliveMs) ask(link, state, now);
    }
  }

  const isOver = (link: Link, state: Watched, now: number) =>
    now >= state.oldAt || (maxIdleMs > 0 && link.calls === 0 && now - link.lastCall >= maxIdleMs);

  function ask({ session, socket }: Link, state: Watched, now: number): void {
    state.askedAt = now;
    state.waitingSince = now;
    try {
      const sent = session?.ping((error) => {
        // An error says that the connection ends, which is seen to by whoever ends it.
        if (!error) state.waitingSince = undefined;
      });
      if (!sent) socket.destroy();
    } catch {
      socket.destroy();
    }
  }

  const timer = setInterval(look, between).unref();
  return {
    begin(link) {
      const spread = 1 + ageSpread * (2 * random() - 1);
      watched.set(link, {
        oldAt: maxAgeMs > 0 ? link.since + maxAgeMs * spread : Number.POSITIVE_INFINITY,
        cutAt: undefined,
        askedAt: link.since,
        waitingSince: undefined,
      });
    },
    end: (link) => void watched.delete(link),
    stop: () => clearInterval(timer),
  };
}
