import { KurrentDBClient } from '@kurrent/kurrentdb-client';
import { StoreUnavailable } from '../port.js';
import { nameNoAddresses } from './server-name.js';
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
  { connectionString, address, tls }: KurrentUrl,
  prepare: (client: KurrentDBClient) => KurrentDBClient = (client) => client,
): Connection {
  let current: KurrentDBClient | undefined;
  let closed = false;

  return {
    client() {
      if (closed) throw new StoreUnavailable(`the event store at ${address} is closed`);
      if (tls) nameNoAddresses();
      current ??= prepare(open(connectionString, address));
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

function open(connectionString: string, address: string): KurrentDBClient {
  try {
    return sturdy(KurrentDBClient.connectionString(connectionString));
  } catch (error) {
    // Without the cause: the client's own errors repeat the connection string.
    const why = error instanceof Error && error.name !== 'ParseError' && !('connectionString' in error);
    const message = why ? `: ${(error as Error).message}` : '';
    throw new StoreUnavailable(`no connection to the event store at ${address} can be made${message}`);
  }
}

type Internals = {
  handleError?: (...failed: unknown[]) => Promise<void>;
  getChannel?: () => Promise<{ close(): void; getTarget(): string }>;
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
}
