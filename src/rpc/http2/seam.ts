import type { Http2Server, Http2Session, IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import type { Server } from '@grpc/grpc-js';

/** What grpc-js does with a new stream. */
export type ServeStream = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags: number) => void;

/** An HTTP/2 server of grpc-js, with what it does with a stream taken out of it. */
export type Underneath = { readonly http2: Http2Server; readonly serve: ServeStream };

/** An HTTP/2 connection, whose socket is reached through what Node.js calls its session. */
export type Connection = Http2Session;

/**
 * The HTTP/2 servers that a grpc-js server is bound by. grpc-js has no public way to them, and offers no limit of connections,
 * resets and header sizes, no sight of a header that it leaves out, and no say in the statuses that it makes itself. So this one file
 * reads its private field `http2Servers`, a map whose keys are servers of `node:http2`, and takes over their one listener for
 * streams. To be called before the first connection can be there: in the turn of the event loop in which binding ended.
 * @throws Error if grpc-js is no longer made like that, so that a server does not start without its limits
 */
export function takeStreams(server: Server): readonly Underneath[] {
  const { http2Servers } = server as unknown as { readonly http2Servers?: unknown };
  if (!(http2Servers instanceof Map) || http2Servers.size === 0) throw changed('it has no map http2Servers');
  return [...(http2Servers.keys() as Iterable<Http2Server>)].map((http2) => {
    const [serve, ...more] = http2.listeners('stream') as ServeStream[];
    if (!serve || more.length > 0) throw changed(`${more.length + (serve ? 1 : 0)} listeners wait for streams`);
    http2.removeAllListeners('stream');
    return { http2, serve };
  });
}

/** The stream of a call that grpc-js made of it, which lies behind a private field; undefined if it is not made like that any more. */
export function streamOf(call: object): ServerHttp2Stream | undefined {
  return (call as { readonly call?: { readonly stream?: ServerHttp2Stream } }).call?.stream;
}

/** Has a call read so many messages ahead of whoever takes them; grpc-js has it read 16, of any size. A stream of Node.js has no public way to say so later. */
export function readAhead(call: object, messages: number): void {
  const state = (call as { readonly _readableState?: { highWaterMark?: number } })._readableState;
  if (state?.highWaterMark !== undefined) state.highWaterMark = messages;
}

function changed(how: string): Error {
  return new Error(
    `this version of @grpc/grpc-js cannot be used: its server is not made as src/rpc/http2/seam.ts needs it; ${how}`,
  );
}
