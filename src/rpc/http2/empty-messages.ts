import type { ServerHttp2Stream } from 'node:http2';

/** Bytes before each message: whether it is compressed, and its length in four bytes. */
const prefix = 5;

/**
 * Takes the flag "compressed" from messages of no bytes, before grpc-js, which would find no whole gzip in them. Clients such as
 * .NET's send an empty request so. To be called for streams with an encoding alone, before anybody listens for their data.
 */
export function mendEmptyMessages(stream: ServerHttp2Stream): void {
  const on = stream.on.bind(stream) as (event: string, listener: (data: Buffer) => void) => ServerHttp2Stream;
  stream.on = ((event: string, listener: (data: Buffer) => void) => {
    if (event !== 'data') return on(event, listener);
    const mend = emptyMessageMender();
    return on('data', (data) => {
      const mended = mend(data);
      if (mended.length > 0) listener(mended);
    });
  }) as typeof stream.on;
}

/** Given the pieces of a stream of messages, gives as many bytes, of which a prefix may come later. */
export function emptyMessageMender(): (data: Buffer) => Buffer {
  let head = Buffer.alloc(0);
  let left = 0;
  return (data) => {
    const parts: Buffer[] = [];
    for (let at = 0; at < data.length; ) {
      if (left > 0) {
        const body = data.subarray(at, at + left);
        parts.push(body);
        left -= body.length;
        at += body.length;
        continue;
      }
      const more = data.subarray(at, at + prefix - head.length);
      head = Buffer.concat([head, more]);
      at += more.length;
      if (head.length < prefix) break;
      left = head.readUInt32BE(1);
      if (left === 0) head[0] = 0;
      parts.push(head);
      head = Buffer.alloc(0);
    }
    return Buffer.concat(parts);
  };
}
