import { connect } from 'node:net';

// What a child of a bench sends to a server as raw HTTP/2, as fast as the system takes the bytes.

/** So many calls are written at once. */
const callsAtOnce = 100;

const cancelled = Buffer.of(0, 0, 0, 8);

/** The head of a frame (RFC 9113, section 4.1). */
export function frameHead(length: number, type: number, flags: number, stream: number): Buffer {
  const bytes = Buffer.alloc(9);
  bytes.writeUIntBE(length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(stream, 5);
  return bytes;
}

/** The block of headers of a gRPC call, none of them compressed. */
export function headersOf(path: string, more: Readonly<Record<string, string>> = {}): Buffer {
  const all = {
    ':method': 'POST',
    ':scheme': 'http',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...more,
  };
  return Buffer.concat(
    Object.entries(all).flatMap(([name, value]) => [
      Buffer.of(0, name.length),
      Buffer.from(name),
      Buffer.of(value.length),
      Buffer.from(value),
    ]),
  );
}

/** Opens a call. */
export const opening = (headers: Buffer, stream: number): Buffer[] => [
  frameHead(headers.length, 1, 4, stream),
  headers,
];

/** Resets a call. */
export const resetting = (stream: number): Buffer[] => [frameHead(4, 3, 0, stream), cancelled];

/**
 * Keeps a connection that sends one call after the other, and connects again when it is cut off.
 * @param begin - called for each connection; what it gives is called for each call of it, and gives its frames, or undefined to end the connection
 */
export function flood(port: number, begin: () => (stream: number) => readonly Buffer[] | undefined): void {
  const socket = connect(port, '127.0.0.1');
  const framesOf = begin();
  let stream = 1;
  const send = () => {
    // Until the system takes no more; it goes on when that has gone.
    for (let more = true; more && !socket.destroyed; ) {
      const pieces: Buffer[] = [];
      for (let i = 0; i < callsAtOnce; i++, stream += 2) {
        const frames = framesOf(stream);
        if (!frames) {
          socket.end(Buffer.concat(pieces));
          return;
        }
        pieces.push(...frames);
      }
      more = socket.write(Buffer.concat(pieces));
    }
  };
  socket.on('error', () => undefined);
  socket.on('connect', () => {
    socket.write(Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frameHead(0, 4, 0, 0)]));
    send();
  });
  socket.on('drain', send);
  socket.on('close', () => setImmediate(() => flood(port, begin)));
  socket.resume();
}

/** Tells the parent that it began, and then a count, ten times a second. Whatever becomes of the parent, this process ends after so many milliseconds. */
export function tellParent(first: number, count: () => number, lifeMs: number): void {
  process.send?.(first);
  setInterval(() => process.send?.(count()), 100).unref();
  setTimeout(() => process.exit(0), lifeMs).unref();
  process.once('disconnect', () => process.exit(0));
}
