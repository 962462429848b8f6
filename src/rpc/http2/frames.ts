import { Metadata, type ServerWritableStream } from '@grpc/grpc-js';
import { streamOf } from './seam.js';

/** What takes the messages of a call; `done` is called when one has left the process, or with why it has not. */
export type Sink = { write(bytes: Buffer, done: (error?: Error | null) => void): unknown };

/**
 * What takes messages with the prefix that they have on their way, without copying them as grpc-js does: the bytes may not change before `done` is called without
 * an error, and then may. undefined where grpc-js is made in another way.
 */
export function frameSink(call: Pick<ServerWritableStream<Buffer, Buffer>, 'sendMetadata'>): Sink | undefined {
  const stream = streamOf(call);
  if (!stream) return undefined;
  let begun = false;
  return {
    write(bytes, done) {
      if (!begun) call.sendMetadata(new Metadata());
      begun = true;
      if (stream.writable) stream.write(bytes, done);
      else done(new Error('the call has ended'));
    },
  };
}
