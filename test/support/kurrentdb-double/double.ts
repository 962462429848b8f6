import { ServerCredentials } from '@grpc/grpc-js';
import { type Faults, faults } from './faults.js';
import { type MemoryLog, memoryLog } from './log.js';
import { type RunningNode, startNode } from './node.js';

/** Somebody who calls. */
export type User = { readonly name: string; readonly password: string };

/** What a double is like. */
export type DoubleOptions = {
  /** Nodes of the cluster; one unless given. The first is the leader. */
  readonly nodes?: number;
  /** After how many records one of the server's own follows, which no filter for Memoir's streams lets through; 7 unless given. */
  readonly noiseEvery?: number;
  /** Most bytes of an append; 1 MiB, as a server's default, unless given. */
  readonly maxAppendSize?: number;
  /** A private key and a certificate, as PEM: calls are then encrypted. */
  readonly tls?: { readonly key: Buffer; readonly certificate: Buffer };
  /** Who may call; anybody unless given. */
  readonly user?: User;
  /** Who may read, but not append; only beside `user`. */
  readonly reader?: User;
};

/**
 * A stand-in for a KurrentDB server or cluster: the same protocol over real sockets, the same rules of streams, in memory, and
 * able to fail on command.
 */
export type Double = {
  /** Connection string of the first node, or of all. */
  readonly url: string;
  readonly nodes: readonly RunningNode[];
  readonly log: MemoryLog;
  readonly faults: Faults;
  /** Makes another node the leader. */
  elect(node: number): void;
  /** Cuts every connection. */
  dropConnections(): void;
  /** Lets no connection in, or lets them in again. */
  refuse(refused: boolean): void;
  /** From now on no subscription that there is sends anything. */
  silenceSubscriptions(): void;
  /** How many subscriptions have been told that they have caught up. */
  caughtUp(): number;
  /** Drops the first events of a stream. Subscriptions that come there afterwards hang; reads do not. */
  truncateAndHang(stream: string, before: number): void;
  stop(): Promise<void>;
};

/** Starts a double. */
export async function startDouble(options: DoubleOptions = {}): Promise<Double> {
  const log = memoryLog({ noiseEvery: options.noiseEvery ?? 7 });
  const waiting = faults();
  const nodes: RunningNode[] = [];
  const alive = new Set<number>();
  const traps: { from: number; to: number }[] = [];
  let leader = 0;
  let silences = 0;
  let caughtUp = 0;
  const { tls, user, reader } = options;
  const authorizationOf = ({ name, password }: User) =>
    `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`;
  const credentials = () =>
    tls
      ? ServerCredentials.createSsl(null, [{ private_key: tls.key, cert_chain: tls.certificate }])
      : ServerCredentials.createInsecure();
  for (let i = 0; i < (options.nodes ?? 1); i++) {
    nodes.push(
      await startNode({
        log,
        faults: waiting,
        maxAppendSize: options.maxAppendSize ?? 1024 * 1024,
        isLeader: () => leader === i,
        leader: () => (nodes[leader] as RunningNode).endpoint,
        members: () => nodes.map(({ endpoint }, n) => ({ ...endpoint, leader: n === leader, alive: alive.has(n) })),
        silences: () => silences,
        onCaughtUp: () => void caughtUp++,
        hangsBetween: (from, to) => traps.some((trap) => from <= trap.from && to >= trap.to),
        credentials: credentials(),
        ...(user && { authorization: authorizationOf(user) }),
        ...(reader && { readerAuthorization: authorizationOf(reader) }),
      }),
    );
    alive.add(i);
  }
  const who = user ? `${encodeURIComponent(user.name)}:${encodeURIComponent(user.password)}@` : '';
  const hosts = nodes.map(({ endpoint }) => `${endpoint.host}:${endpoint.port}`).join(',');
  return {
    url: `kurrentdb://${who}${hosts}?tls=${tls !== undefined}`,
    nodes,
    log,
    faults: waiting,
    elect(node) {
      leader = node;
    },
    dropConnections() {
      for (const node of nodes) node.dropConnections();
    },
    refuse(refused) {
      for (const node of nodes) node.refuse(refused);
    },
    silenceSubscriptions() {
      silences++;
    },
    caughtUp: () => caughtUp,
    truncateAndHang(stream, before) {
      const gone = log.stream(stream).filter(({ revision }) => revision < before);
      log.truncate(stream, before);
      const [first, last] = [gone[0], gone.at(-1)];
      if (first && last) traps.push({ from: first.position, to: last.position });
    },
    async stop() {
      await Promise.all(nodes.map((node) => node.stop()));
    },
  };
}
