import type {
  DescMessage,
  DescMethod,
  DescMethodClientStreaming,
  DescMethodServerStreaming,
  DescMethodUnary,
  DescService,
  MessageShape,
} from '@bufbuild/protobuf';
import type {
  ServerReadableStream,
  ServerUnaryCall,
  ServerWritableStream,
  ServiceDefinition,
  sendUnaryData,
  UntypedServiceImplementation,
} from '@grpc/grpc-js';
import type { Logger } from 'pino';
import { MemoirError } from '../domain/errors.js';
import { passed } from '../threads/garbage.js';
import { type CallContext, type Calls, goneReason, type ServerCall } from './call.js';
import { type Encoded, encode } from './encoded.js';
import { frameSink } from './http2/frames.js';
import { readAhead, streamOf } from './http2/seam.js';
import type { Meter } from './limits/meter.js';
import { readMessage } from './messages/read-message.js';
import { bytesOfTransfers, outbox } from './outbox.js';
import { statusOf } from './status.js';
import { bytesEncoding, listEncoding, prefixBytes } from './wire/bytes-message.js';
import { widenWindow } from './wire/windows.js';

type Handler<M> =
  M extends DescMethodUnary<infer I, infer O>
    ? (request: MessageShape<I>, call: CallContext) => Promise<MessageShape<O>>
    : M extends DescMethodServerStreaming<infer I, infer O>
      ? (request: MessageShape<I>, call: CallContext) => AsyncIterable<MessageShape<O> | Encoded<O>>
      : M extends DescMethodClientStreaming<infer I, infer O>
        ? (requests: AsyncIterable<MessageShape<I>>, call: CallContext) => Promise<MessageShape<O>>
        : never;

/** An implementation of every method of a service, from message to message. Errors are thrown. */
export type Implementation<S extends DescService> = { readonly [M in keyof S['method']]: Handler<S['method'][M]> };

/** What grpc-js needs to serve a service. */
export type Served = {
  readonly definition: ServiceDefinition;
  readonly implementation: UntypedServiceImplementation;
};

// Messages cross grpc-js as bytes, so that a malformed request is an INVALID_ARGUMENT and not grpc-js's INTERNAL.
type Bytes = Buffer;
type UnaryHandler = (request: unknown, call: CallContext) => Promise<unknown>;
type StreamHandler = (request: unknown, call: CallContext) => AsyncIterable<unknown>;
type UploadHandler = (requests: AsyncIterable<unknown>, call: CallContext) => Promise<unknown>;

/** What stands before every call of a method. */
export type Before = {
  /** Is awaited, and throws while there is no service. */
  readonly open: (method: DescMethod) => Promise<void> | undefined;
  /** What counts the bytes of its messages. */
  readonly meterOf: (method: DescMethod) => Meter | undefined;
};

/** Binds the implementation of a service to grpc-js. */
export function serveService<S extends DescService>(
  service: S,
  implementation: Implementation<S>,
  calls: Calls,
  { open, meterOf }: Before,
  logger: Logger,
): Served {
  const definition: Record<string, ServiceDefinition[string]> = {};
  const bound: UntypedServiceImplementation = {};
  for (const method of service.methods) {
    definition[method.localName] = {
      path: `/${service.typeName}/${method.name}`,
      requestStream: method.methodKind === 'client_streaming' || method.methodKind === 'bidi_streaming',
      // One message that is sent as a stream's is the same to clients, and need not be copied by grpc-js.
      responseStream:
        method.methodKind !== 'unary' ? method.methodKind !== 'client_streaming' : hasLargeAnswers(method),
      requestSerialize: (bytes: Bytes) => bytes,
      requestDeserialize: (bytes: Bytes) => bytes,
      responseSerialize: (bytes: Bytes) => bytes,
      responseDeserialize: (bytes: Bytes) => bytes,
    };
    bound[method.localName] = bind(method, implementation[method.localName as keyof S['method']]);
  }
  return { definition, implementation: bound };

  function bind(method: DescMethod, handler: unknown): UntypedServiceImplementation[string] {
    if (hasLargeAnswers(method)) return unaryOfBytes(method, handler as UnaryHandler);
    if (method.methodKind === 'unary') return unary(method, handler as UnaryHandler);
    if (method.methodKind === 'server_streaming') return download(method, handler as StreamHandler);
    if (method.methodKind === 'client_streaming') return upload(method, handler as UploadHandler);
    throw new Error(`${service.typeName}.${method.name} is of a kind that no service here uses`);
  }

  function unary(method: DescMethod, handler: UnaryHandler) {
    const { input, output } = method;
    const meter = meterOf(method);
    return (call: ServerUnaryCall<Bytes, Bytes>, callback: sendUnaryData<Bytes>) =>
      answer(method, call, callback, async (context) => {
        // It does not wait: what it owes, later calls wait for.
        meter?.count(call, context, call.request);
        // It came in pieces.
        passed(2 * call.request.length);
        const answered = await handler(decode(input, call.request), context);
        const bytes = fitting(encode(output, answered));
        meter?.count(call, context, bytes);
        // grpc-js copies it.
        passed(2 * bytes.length);
        return bytes;
      });
  }

  function unaryOfBytes(method: DescMethod, handler: UnaryHandler) {
    const { input, output } = method;
    const meter = meterOf(method);
    const frameOf = listEncoding(output);
    return (call: ServerWritableStream<Bytes, Bytes>) => {
      const frames = frameSink(call);
      const done: sendUnaryData<Bytes> = (error) => (error ? call.emit('error', error) : call.end());
      return answer(method, call, done, async (context) => {
        meter?.count(call, context, call.request);
        passed(2 * call.request.length);
        const answered = await handler(decode(input, call.request), context);
        const { bytes, sent } = (frameOf as NonNullable<typeof frameOf>)(answered as MessageShape<DescMessage>);
        const message = fitting(bytes.subarray(prefixBytes));
        meter?.count(call, context, message);
        if (frames) frames.write(bytes, (error) => !error && sent());
        else call.write(message);
        return message;
      });
    };
  }

  function upload(method: DescMethod, handler: UploadHandler) {
    const { input, output } = method;
    const meter = meterOf(method);
    return (call: ServerReadableStream<Bytes, Bytes>, callback: sendUnaryData<Bytes>) =>
      answer(method, call, callback, async (context) => {
        const { signal } = context;
        // A client may leave its stream open for ever; a shutdown does not wait for what it might still send.
        const cut = () => signal.reason instanceof MemoirError && call.destroy(signal.reason);
        signal.addEventListener('abort', cut, { once: true });
        if (signal.aborted) cut();
        readAhead(call, messagesAhead);
        const stream = streamOf(call);
        if (stream) widenWindow(stream);
        const paced = meter ? pacedBy(meter, call, context) : call;
        return encode(output, await handler(decodeAll(input, paced), context));
      });
  }

  async function answer(
    method: DescMethod,
    call: ServerCall,
    callback: sendUnaryData<Bytes>,
    work: (context: CallContext) => Promise<Bytes>,
  ): Promise<void> {
    let context: CallContext | undefined;
    try {
      context = calls.context(call);
      // Nothing to wait for is the rule, and an await of nothing has its price.
      const opening = open(method);
      if (opening) await opening;
      const gone = goneReason(call);
      if (gone) throw gone;
      callback(null, await work(context));
    } catch (error) {
      callback(statusOf(ofClient(error, call), context?.caller.requestId ?? '', logger));
    } finally {
      if (context) calls.ended(context);
    }
  }

  function download(method: DescMethod, handler: StreamHandler) {
    const { input, output } = method;
    const meter = meterOf(method);
    const bytesOf = bytesEncoding(output);
    return async (call: ServerWritableStream<Bytes, Bytes>) => {
      let context: CallContext | undefined;
      try {
        context = calls.context(call);
        const { signal } = context;
        await open(method);
        const frames = bytesOf && frameSink(call);
        const send = outbox(frames ?? call, signal, bytesOf && bytesOfTransfers);
        for await (const message of handler(decode(input, call.request), context)) {
          if (signal.aborted) break;
          const { bytes, sent } = frames ? bytesOf.frame(message as never) : { bytes: encode(output, message) };
          const full = send(bytes, sent);
          if (full) await full;
          const owed = meter?.count(call, context, bytes);
          if (owed) await owed;
        }
        if (signal.aborted && signal.reason instanceof MemoirError) throw signal.reason;
        call.end();
      } catch (error) {
        call.emit('error', statusOf(ofClient(error, call), context?.caller.requestId ?? '', logger));
      } finally {
        if (context) calls.ended(context);
      }
    };
  }
}

/** Whether a method is answered with one message that is little but bytes of others. */
const hasLargeAnswers = ({ methodKind, output }: DescMethod): boolean =>
  methodKind === 'unary' && listEncoding(output) !== undefined;

/** Messages of an upload that are read before the one before them was taken. */
const messagesAhead = 2;

/** Most bytes of an answer: what clients accept unless they are told otherwise. */
const maxAnswer = 4 * 1024 * 1024;

/** The answer. @throws MemoirError RESOURCE_EXHAUSTED if clients would refuse it */
function fitting(answer: Bytes): Bytes {
  if (answer.length <= maxAnswer) return answer;
  throw new MemoirError(
    'RESOURCE_EXHAUSTED',
    'ANSWER_TOO_LARGE',
    `the answer would have ${answer.length} bytes, and ${maxAnswer} is the limit; ask for less at once`,
  );
}

function decode(schema: DescMessage, bytes: Bytes): MessageShape<DescMessage> {
  try {
    return readMessage(schema, bytes);
  } catch (error) {
    if (error instanceof MemoirError) throw error;
    throw new MemoirError(
      'INVALID_ARGUMENT',
      'MALFORMED_MESSAGE',
      `the request is no ${schema.typeName}: ${(error as Error).message}`,
    );
  }
}

async function* decodeAll(schema: DescMessage, call: AsyncIterable<Bytes>): AsyncGenerator<MessageShape<DescMessage>> {
  try {
    for await (const bytes of call) {
      // Its memory is somebody else's afterwards.
      passed(bytes.length);
      yield decode(schema, bytes);
    }
  } catch (error) {
    // The stream was cut off by a deadline, or the connection is gone.
    throw error instanceof MemoirError ? error : uploadCut;
  }
}

/** The messages of an upload, no faster than its caller may send them. */
async function* pacedBy(
  meter: Meter,
  call: ServerReadableStream<Bytes, Bytes>,
  context: CallContext,
): AsyncGenerator<Bytes> {
  for await (const bytes of call) {
    yield bytes;
    const owed = meter.count(call, context, bytes as Bytes);
    if (owed) await owed;
  }
}

const uploadCut = new MemoirError('CANCELLED', 'CLIENT_GONE', 'the client ended its stream before it was whole');

/** The error, or that nobody waits for the call any more where that is what a wait was ended by. */
function ofClient(error: unknown, call: ServerCall): unknown {
  return error instanceof Error && error.name === 'AbortError' ? (goneReason(call) ?? error) : error;
}
