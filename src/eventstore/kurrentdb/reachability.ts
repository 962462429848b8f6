import { type ServiceError, status } from '@grpc/grpc-js';
import { StoreRefused, type StoreUnavailable, StoreUnreachable } from '../port.js';
import { callsOf } from './node-call.js';
import { type Obstacle, obstacleAt } from './obstacle.js';
import { defaultTimings, type KurrentOptions } from './options.js';
import type { Endpoint, KurrentUrl } from './url.js';

/** Looks at the nodes of a connection string by itself: what the client says of any trouble is that it cannot be reached. */
export type Reachability = {
  /** Why no node can be used; undefined if one can. Asked again while it looks, it looks once. */
  obstacle(): Promise<Obstacle | undefined>;
  /** The error of an obstacle. */
  errorOf(obstacle: Obstacle): StoreUnavailable;
};

/** Looks at the nodes of `url`. Who may not read the log is refused, and with `writing` who may not append. */
export function reachabilityOf(url: KurrentUrl, { edge, timings }: KurrentOptions, writing: boolean): Reachability {
  const { longestLook } = { ...defaultTimings, ...timings };
  let looking: Promise<Obstacle | undefined> | undefined;

  async function lookAt(node: Endpoint): Promise<Obstacle | undefined> {
    const begun = edge.monotonic();
    const left = () => Math.max(1, longestLook - (edge.monotonic() - begun));
    const found = await obstacleAt(node, url, left());
    if (found) return found;
    const calls = callsOf(node, url);
    try {
      const refusal = refusalIn(await calls.gossip(left()));
      if (refusal) return refusal;
      const [read, append] = await Promise.all([calls.mayRead(left()), writing ? calls.mayAppend(left()) : undefined]);
      return mayNotAppend(append, url) ?? mayNotRead(read, url);
    } finally {
      calls.close();
    }
  }

  async function look(): Promise<Obstacle | undefined> {
    const found = await Promise.all(url.hosts.map(lookAt));
    const obstacles = found.filter((one) => one !== undefined);
    if (obstacles.length < found.length) return undefined;
    const kinds = ['silent', 'refused', 'away'] as const;
    const kind = kinds.find((one) => obstacles.some((obstacle) => obstacle.kind === one)) ?? 'away';
    return { kind, why: together(url.hosts, obstacles) };
  }

  return {
    obstacle() {
      looking ??= look().finally(() => {
        looking = undefined;
      });
      return looking;
    },
    errorOf({ kind, why }) {
      const Kind = kind === 'refused' ? StoreRefused : StoreUnreachable;
      return new Kind(`KurrentDB at ${url.address} cannot be used: ${why}`);
    },
  };
}

/** What a call says of the credentials, or of who answers it. Anything else may be the moment: the store knows how to wait. */
function refusalIn(error: ServiceError | undefined): Obstacle | undefined {
  switch (error?.code) {
    case status.UNAUTHENTICATED:
      return { kind: 'refused', why: 'it refuses the credentials: the user or the password is wrong' };
    case status.UNIMPLEMENTED:
      return { kind: 'refused', why: 'what listens there is no KurrentDB: it knows nothing of its gossip' };
    default:
      return undefined;
  }
}

function mayNotAppend(error: ServiceError | undefined, { credentials }: KurrentUrl): Obstacle | undefined {
  if (error?.code !== status.PERMISSION_DENIED) return refusalIn(error);
  const why = credentials
    ? `the user ${credentials.username} may not append to Memoir's streams`
    : "it refuses the credentials, or rather that there are none: without any nobody may append to Memoir's streams";
  return { kind: 'refused', why };
}

function mayNotRead(error: ServiceError | undefined, { credentials }: KurrentUrl): Obstacle | undefined {
  if (error?.code !== status.PERMISSION_DENIED) return refusalIn(error);
  const why = credentials
    ? `the user ${credentials.username} may not read $all, as the members of $admins may`
    : 'it refuses the credentials, or rather that there are none: without any nobody may read $all';
  return { kind: 'refused', why };
}

/** One text of what was found at each node: which nodes, where they differ, and what. */
function together(nodes: readonly Endpoint[], obstacles: readonly Obstacle[]): string {
  const hosts = new Map<string, string[]>();
  obstacles.forEach(({ why }, i) => {
    const { host = '', port = 0 } = nodes[i] ?? {};
    hosts.set(why, [...(hosts.get(why) ?? []), `${host}:${port}`]);
  });
  if (hosts.size === 1) return obstacles[0]?.why ?? '';
  return [...hosts].map(([why, those]) => `${those.join(', ')}: ${why}`).join('; ');
}
