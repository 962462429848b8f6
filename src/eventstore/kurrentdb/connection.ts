import { Channel } from '@grpc/grpc-js';
import { KurrentDBClient } from '@kurrent/kurrentdb-client';
import { StoreUnavailable } from '../port.js';
import { channelCredentials } from './node-call.js';
import type { KurrentUrl } from './url.js';

/** A client that is replaced when it is broken. */
export type Connection = {
  /** @throws StoreUnavailable after `close`, or if the client cannot be made, such as for a certificate that cannot be read */
  client(): KurrentDBClient;
  /** Replaces the client, if it is still this one. What it has under way fails. */
  renew(broken: KurrentDBClient): void;
  close(): Promise<void>;
};

/** A connection that is made when it is first used. `prepare` is given every client before its use. */
export function connect(
  url: KurrentUrl,
  prepare: (client: KurrentDBClient) => KurrentDBClient = (client) => client,
): Connection {
  let current: KurrentDBClient | undefined;
  let closed = false;

  return {
    client() {
      if (closed) throw new StoreUnavailable(`the event store at ${url.address} is closed`);
      current ??= prepare(open(url));
      return current;
    },
    renew(broken) {
      if (current !== broken) return;
      current = undefined;
      void dispose(broken);
    },
    async close() {
      closed = true;
      const last = current;
      current = undefined;
      if (last) await dispose(last);
    },
  };
}

function open(url: KurrentUrl): KurrentDBClient {
  try {
    return withOwnChannels(sturdy(KurrentDBClient.connectionString(url.connectionString)), url);
  } catch (error) {
    // Without the cause: the client's own errors repeat the connection string.
    const why = error instanceof Error && error.name !== 'ParseError' && !('connectionString' in error);
    const message = why ? `: ${(error as Error).message}` : '';
    throw new StoreUnavailable(`no connection to the event store at ${url.address} can be made${message}`);
  }
}

type Internals = {
  handleError?: (...failed: unknown[]) => Promise<void>;
  createChannel(): Promise<Channel>;
  resolveUri(): Promise<string>;
};

/**
 * The client handles a failed call in a promise that nobody awaits. While it looks for a node of a cluster that is down, that
 * promise is rejected, and an unhandled rejection ends the process.
 */
function sturdy(client: KurrentDBClient): KurrentDBClient {
  const internals = client as unknown as Internals;
  const { handleError } = internals;
  if (handleError) internals.handleError = (...failed) => handleError(...failed).catch(() => undefined);
  return client;
}

/** Channels of clients that were not closed. */
const channels = new WeakMap<KurrentDBClient, Set<Channel>>();

/** As the client has it: the biggest event that a server may hold, and somewhat more. */
const maxReceived = 17 * 1024 * 1024;

/** Milliseconds that a timer of Node.js can be set to; more is taken for 1. */
const longestTimer = 2 ** 31 - 1;

/**
 * Lets a client have connections of its own. By itself all clients of a process share one to each node, so that a new client would go on with
 * the very connection for whose silence the one before was given up, and all of them together with the 100 calls that one connection takes.
 */
function withOwnChannels(client: KurrentDBClient, url: KurrentUrl): KurrentDBClient {
  const internals = client as unknown as Internals;
  const credentials = channelCredentials(url);
  const { interval, timeout } = url.keepAlive;
  const open = new Set<Channel>();
  channels.set(client, open);
  internals.createChannel = async () => {
    const channel = new Channel(await internals.resolveUri(), credentials, {
      ...(interval >= 0 && { 'grpc.keepalive_time_ms': interval }),
      'grpc.keepalive_timeout_ms': timeout < 0 ? longestTimer : timeout,
      'grpc.max_receive_message_length': maxReceived,
      'grpc.use_local_subchannel_pool': 1,
    });
    for (const before of open) before.close();
    open.clear();
    open.add(channel);
    return channel;
  };
  return client;
}

type StreamCreator = (
  service: unknown,
  name: string,
  create: (stub: unknown) => unknown,
  cache?: WeakMap<object, unknown>,
) => () => Promise<unknown>;

/**
 * Lets a client have one stream of append requests and never another. By itself it opens a new one when the first breaks, and what
 * is asked for at that moment goes there although what was asked for before it is lost with the first.
 */
export function withOneStream(client: KurrentDBClient): KurrentDBClient {
  const internals = client as unknown as { GRPCStreamCreator: StreamCreator };
  const { GRPCStreamCreator: createStream } = internals;
  let opened = false;
  internals.GRPCStreamCreator = (service, name, create, cache) => {
    if (name !== 'appendToStream') return createStream(service, name, create, cache);
    const once = (stub: unknown) => {
      if (opened) throw new Error('the stream of append requests has ended');
      opened = true;
      return create(stub);
    };
    return createStream(service, name, once, cache);
  };
  return client;
}

async function dispose(client: KurrentDBClient): Promise<void> {
  await client.dispose().catch(() => undefined);
  for (const channel of channels.get(client) ?? []) channel.close();
}
