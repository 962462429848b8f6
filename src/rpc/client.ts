import { isIP } from 'node:net';
import {
  create,
  type DescMessage,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import type { GenService, GenServiceMethods } from '@bufbuild/protobuf/codegenv2';
import {
  type CallOptions,
  type ChannelCredentials,
  Client,
  type ClientWritableStream,
  credentials,
  Metadata,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { MemoirError, messageOf, quote } from '../domain/errors.js';
import { recursionLimit } from '../domain/json.js';
import { CallError, callError } from './call-error.js';
import { waitToComeAgain } from './patience.js';
import { bytesEncoding } from './wire/bytes-message.js';
import { windowOfClients } from './wire/windows.js';

/** What a call may be given beside its request. */
export type CallSettings = {
  /** Ends the call when it aborts; the call then fails with CANCELLED. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds until the call fails with DEADLINE_EXCEEDED; absent for never. */
  readonly timeoutMs?: number | undefined;
  /** What the call carries beside the connection's own metadata, by name. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
};

/** A service's methods as functions. All fail with a `CallError`. Bidirectional streams are not among Memoir's methods. */
export type ServiceClient<Methods extends GenServiceMethods> = {
  [Name in keyof Methods]: Methods[Name]['methodKind'] extends 'unary'
    ? (
        request: MessageInitShape<Methods[Name]['input']>,
        settings?: CallSettings,
      ) => Promise<MessageShape<Methods[Name]['output']>>
    : Methods[Name]['methodKind'] extends 'server_streaming'
      ? (
          request: MessageInitShape<Methods[Name]['input']>,
          settings?: CallSettings,
        ) => AsyncIterableIterator<MessageShape<Methods[Name]['output']>>
      : (
          requests: Messages<Methods[Name]['input']>,
          settings?: CallSettings,
        ) => Promise<MessageShape<Methods[Name]['output']>>;
};

/** The messages of a call that sends several. What is made when it is asked for is not asked for before it can be sent. */
export type Messages<Input extends DescMessage> =
  | Iterable<MessageInitShape<Input>>
  | AsyncIterable<MessageInitShape<Input>>;

/** The client of a generated service. */
export type ClientOf<Service> = Service extends { method: infer Methods extends GenServiceMethods }
  ? ServiceClient<Methods>
  : never;

/** One connection to a server. */
export type Connection = {
  /** The methods of a service over this connection. */
  service<Methods extends GenServiceMethods>(service: GenService<Methods>): ServiceClient<Methods>;
  /**
   * Resolves when there is a connection, and tries again until then for so many milliseconds.
   * @throws CallError UNAVAILABLE if there is none in time
   */
  connected(timeoutMs: number): Promise<void>;
  /** Lets go of the socket; calls under way fail. */
  close(): void;
};

/** How a server is called. */
export type Security = {
  /**
   * Whether by TLS: with the certificate of a server that these authorities vouch for, or the system's without them, and with a certificate of one's own
   * where that is given. PEM.
   */
  readonly tls?: boolean | { readonly ca?: Buffer; readonly cert?: Buffer; readonly key?: Buffer };
  /** A token that says who calls, asked for before each call, since it may be renewed. */
  readonly token?: (() => string) | undefined;
  /** Whether calls that the server refuses because their caller takes too much are made again when it says, within their deadline. */
  readonly patient?: boolean;
};

/**
 * A connection, opened at the first call.
 * @param address of the server, as host:port
 * @param principal whom to call oneself: printable ASCII; undefined where a token or a certificate says it
 * @throws MemoirError INVALID_ARGUMENT if a token would be sent in plain text to another machine, or certificate and key are none
 */
export function connect(address: string, principal: string | undefined, security: Security = {}): Connection {
  const { token } = security;
  if (token && !security.tls && !isLoopback(address)) {
    throw new MemoirError(
      'INVALID_ARGUMENT',
      'TOKEN_OVER_PLAINTEXT',
      `the token is not sent to ${quote(address)} without TLS, where it could be read on the way: give the server as grpcs://${address}`,
    );
  }
  const client = new Client(address, channelCredentials(security), {
    'grpc.enable_http_proxy': isLoopback(address) ? 0 : 1,
    // An answer of a thousand jobs is larger than grpc-js allows by default, and the server is the one asked for.
    'grpc.max_receive_message_length': -1,
    'grpc.max_send_message_length': -1,
    'grpc-node.flow_control_window': windowOfClients,
    'grpc.keepalive_time_ms': 60_000,
    'grpc.keepalive_timeout_ms': 20_000,
    'grpc.max_reconnect_backoff_ms': 5_000,
  });
  const fixed = new Metadata();
  if (principal !== undefined) fixed.set('memoir-principal', principal);
  const metadata = () => {
    if (token) fixed.set('authorization', `Bearer ${token()}`);
    return fixed;
  };
  return {
    service<Methods extends GenServiceMethods>(service: GenService<Methods>) {
      const functions: Record<string, unknown> = {};
      for (const [name, method] of Object.entries<DescMethod>(service.method)) {
        functions[name] = callable(client, metadata, method, security.patient ?? false);
      }
      return functions as ServiceClient<Methods>;
    },
    connected: (timeoutMs) =>
      new Promise((resolve, reject) => {
        client.waitForReady(Date.now() + timeoutMs, (error) => {
          if (error) reject(new CallError(status.UNAVAILABLE, 'no connection'));
          else resolve();
        });
      }),
    close: () => client.close(),
  };
}

function channelCredentials({ tls = false }: Security): ChannelCredentials {
  if (tls === false) return credentials.createInsecure();
  const { ca = null, cert = null, key = null } = tls === true ? {} : tls;
  try {
    return credentials.createSsl(ca, key, cert);
  } catch (error) {
    const why = `the authorities, certificate and key for TLS cannot be used: ${messageOf(error)}`;
    throw new MemoirError('INVALID_ARGUMENT', 'BAD_CERTIFICATE', why, { cause: error });
  }
}

function callable(client: Client, metadata: () => Metadata, method: DescMethod, patient: boolean): unknown {
  const { path, encode, decode } = wire(method);
  switch (method.methodKind) {
    case 'unary': {
      const once = (request: MessageInitShape<DescMessage>, settings: CallSettings) =>
        new Promise((resolve, reject) => {
          const call = client.makeUnaryRequest(
            path,
            encode,
            decode,
            create(method.input, request),
            metadataOf(metadata(), settings),
            options(settings),
            settle(resolve, reject),
          );
          cancelBy(settings.signal, call);
        });
      if (!patient) return (request: MessageInitShape<DescMessage>, settings = {}) => once(request, settings);
      return async (request: MessageInitShape<DescMessage>, settings: CallSettings = {}) => {
        for (const since = Date.now(); ; ) {
          const left = leftOf(settings, since);
          try {
            return await once(request, left);
          } catch (error) {
            await waitToComeAgain(error, since, settings);
          }
        }
      };
    }
    case 'server_streaming': {
      const once = async function* (request: MessageInitShape<DescMessage>, settings: CallSettings) {
        const message = create(method.input, request);
        const call = client.makeServerStreamRequest(
          path,
          encode,
          decode,
          message,
          metadataOf(metadata(), settings),
          options(settings),
        );
        const release = cancelBy(settings.signal, call);
        try {
          yield* call;
        } catch (error) {
          throw callError(error as ServiceError);
        } finally {
          release();
          call.cancel();
        }
      };
      if (!patient) return (request: MessageInitShape<DescMessage>, settings = {}) => once(request, settings);
      return async function* (request: MessageInitShape<DescMessage>, settings: CallSettings = {}) {
        for (const since = Date.now(); ; ) {
          // A limit refuses a stream before its first message, or not at all.
          try {
            return yield* once(request, leftOf(settings, since));
          } catch (error) {
            await waitToComeAgain(error, since, settings);
          }
        }
      };
    }
    case 'client_streaming':
      return (requests: Messages<DescMessage>, settings: CallSettings = {}) =>
        new Promise((resolve, reject) => {
          const call = client.makeClientStreamRequest(
            path,
            encode,
            decode,
            metadataOf(metadata(), settings),
            options(settings),
            settle(resolve, reject),
          );
          cancelBy(settings.signal, call);
          send(call, requests, method).catch((error) => {
            call.cancel();
            reject(error);
          });
        });
    default:
      throw new Error(`${method.name} is bidirectional, which this client does not offer`);
  }
}

/** Sends messages as fast as they are taken, until the call has ended. @throws what making a message throws */
async function send(
  call: ClientWritableStream<MessageShape<DescMessage>>,
  requests: Messages<DescMessage>,
  method: DescMethod,
): Promise<void> {
  let ended = false;
  const waiting: { go?: () => void } = {};
  const wake = () => waiting.go?.();
  call.on('drain', wake);
  call.on('status', () => {
    ended = true;
    wake();
  });
  for await (const request of requests) {
    if (ended) return;
    if (call.write(create(method.input, request)) || ended) continue;
    await new Promise<void>((resolve) => {
      waiting.go = resolve;
    });
  }
  if (!ended) call.end();
}

function metadataOf(own: Metadata, { metadata }: CallSettings): Metadata {
  if (!metadata) return own;
  const all = own.clone();
  for (const [name, value] of Object.entries(metadata)) all.set(name, value);
  return all;
}

/** How a method's messages cross the wire. */
function wire(method: DescMethod) {
  const bytesOf = bytesEncoding(method.input);
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    encode: bytesOf?.encode ?? ((message: MessageShape<DescMessage>) => bufferOf(toBinary(method.input, message))),
    decode: (bytes: Buffer) => fromBinary(method.output, bytes, { recursionLimit }),
  };
}

/** The same bytes, which are not copied. */
const bufferOf = ({ buffer, byteOffset, byteLength }: Uint8Array): Buffer =>
  Buffer.from(buffer, byteOffset, byteLength);

/** The settings of a call that is made again, with what is left of its time. */
function leftOf(settings: CallSettings, since: number): CallSettings {
  const { timeoutMs } = settings;
  return timeoutMs === undefined ? settings : { ...settings, timeoutMs: since + timeoutMs - Date.now() };
}

function options({ timeoutMs }: CallSettings): CallOptions {
  return timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs };
}

function settle<T>(resolve: (value: T) => void, reject: (error: Error) => void) {
  return (error: ServiceError | null, value?: T) => (error ? reject(callError(error)) : resolve(value as T));
}

/** Cancels the call when the signal aborts; the answer lets go of the signal, which the end of the call does by itself. */
function cancelBy(
  signal: AbortSignal | undefined,
  call: { cancel(): void; on(event: 'status', f: () => void): unknown },
) {
  if (!signal) return () => {};
  const cancel = () => call.cancel();
  const release = () => signal.removeEventListener('abort', cancel);
  if (signal.aborted) cancel();
  else {
    signal.addEventListener('abort', cancel, { once: true });
    call.on('status', release);
  }
  return release;
}

/** Variables that name a proxy, by which grpc-js goes in this order. */
const variables = ['grpc_proxy', 'https_proxy', 'http_proxy'] as const;

/** Whether an address, as host:port, is of this machine itself, which no proxy can reach on behalf of it. */
export function isLoopback(address: string): boolean {
  const host = address.slice(0, address.lastIndexOf(':')).replace(/^\[|\]$/g, '');
  if (host === 'localhost' || host.endsWith('.localhost') || host === '::1') return true;
  return isIP(host) === 4 && host.startsWith('127.');
}

/**
 * The proxy that the environment names for calls to an address, as `host:port (http_proxy)`, without user and password; undefined if
 * there is none, or none for this machine itself. `no_proxy` may exempt the address all the same.
 */
export function proxyOf(
  address: string,
  environment: Readonly<Record<string, string | undefined>>,
): string | undefined {
  if (isLoopback(address)) return undefined;
  const variable = variables.find((name) => environment[name]);
  const text = variable && environment[variable];
  if (!text) return undefined;
  return `${URL.canParse(text) ? new URL(text).host : '(no URL)'} (${variable})`;
}
