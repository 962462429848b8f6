import { ServerCredentials } from '@grpc/grpc-js';
import { type Faults, faults } from './faults.js';
import { type MemoryLog, memoryLog } from './log.js';
import { stateOf } from './modes.js';
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
  /** Who may do to streams what their metadata say, and not read the whole log unless that was allowed; only beside `user`. */
  readonly plain?: User & { readonly readsAll?: boolean };
};

/** What a leader does next that gives its lead away. */
export type Resigning = {
  /** Leaves writes without an answer. */
  hang(): void;
  /** Makes another node the leader; this one follows. */
  elect(node: number): void;
};

/** What a leader does next that is without a majority. */
export type Lonely = {
  /** Answers writes that it gives them up, rather than that they had no time. */
  giveUp(): void;
  /** Takes note of it: refuses writes, and what needs a leader. */
  notice(): void;
  /** Has a majority again, which takes the writes that were not shown. */
  regain(): void;
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
  /** Lets the leader give its lead away: it refuses writes. */
  resign(): Resigning;
  /** Takes all nodes but the leader away: it takes writes that nobody sees, and answers that there was no time. */
  loseMajority(): Lonely;
  /** Kills a node. The others name it as alive, and as the leader if it was, until they notice, or elect another. */
  kill(node: number): { notice(): void };
  /** Cuts every connection. */
  dropConnections(): void;
  /** Lets no connection in, or lets them in again. */
  refuse(refused: boolean): void;
  /** From now on no subscription that there is sends anything. */
  silenceSubscriptions(): void;
  /** How many subscriptions have been told that they have caught up. */
  caughtUp(): number;
  /** How many calls of appends have been told that no more come. */
  halfClosed(): number;
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
  let halfClosed = 0;
  const killed = new Set<number>();
  const hidden: (() => void)[] = [];
  const { tls, user, reader, plain } = options;
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
        leaderAnswers: () => !killed.has(leader),
        members: () =>
          nodes.map(({ endpoint, modes }, n) => ({
            ...endpoint,
            state: stateOf(modes.mode(), n === leader),
            alive: alive.has(n),
          })),
        hide: (show) => void hidden.push(show),
        silences: () => silences,
        onCaughtUp: () => void caughtUp++,
        onHalfClosed: () => void halfClosed++,
        hangsBetween: (from, to) => traps.some((trap) => from <= trap.from && to >= trap.to),
        credentials: credentials(),
        ...(user && { authorization: authorizationOf(user) }),
        ...(reader && { readerAuthorization: authorizationOf(reader) }),
        ...(plain && {
          plain: { name: plain.name, authorization: authorizationOf(plain), readsAll: plain.readsAll ?? false },
        }),
      }),
    );
    alive.add(i);
  }
  const who = user ? `${encodeURIComponent(user.name)}:${encodeURIComponent(user.password)}@` : '';
  const hosts = nodes.map(({ endpoint }) => `${endpoint.host}:${endpoint.port}`).join(',');
  function elect(node: number): void {
    leader = node;
    for (const { modes } of nodes) if (/^resign/.test(modes.mode())) modes.become('serving');
  }
  return {
    url: `kurrentdb://${who}${hosts}?tls=${tls !== undefined}`,
    nodes,
    log,
    faults: waiting,
    elect,
    resign() {
      const { modes } = nodes[leader] as RunningNode;
      modes.become('resigning');
      return { hang: () => modes.become('resigned'), elect };
    },
    loseMajority() {
      const { modes } = nodes[leader] as RunningNode;
      const others = nodes.filter((_, n) => n !== leader);
      modes.become('cut off');
      for (const other of others) {
        other.refuse(true);
        other.dropConnections();
      }
      return {
        giveUp: () => modes.become('giving up'),
        notice: () => modes.become('without others'),
        regain() {
          for (const other of others) other.refuse(false);
          modes.become('serving');
          for (const show of hidden.splice(0)) show();
        },
      };
    },
    kill(node) {
      killed.add(node);
      nodes[node]?.refuse(true);
      nodes[node]?.dropConnections();
      return { notice: () => void alive.delete(node) };
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
    halfClosed: () => halfClosed,
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
