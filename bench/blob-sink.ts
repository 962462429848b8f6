import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { Server, ServerCredentials, type ServerReadableStream, type ServerWritableStream } from '@grpc/grpc-js';

// The yardstick of content: a bare grpc-js server that hashes what it is sent, writes and syncs it, and sends it again, in messages of a
// mebibyte. As a store does, it writes each into a file of its own: one that is written over and over finds its memory in the page cache, which is several
// times as fast where a virtual machine gets memory from its host as it needs it. Its only argument is a directory. Tells its parent the port.

let puts = 0;
const path = () => join(process.argv[2] ?? '', `bytes-${puts}`);
const bytes = (message: Buffer) => message;
const serializers = {
  requestSerialize: bytes,
  requestDeserialize: bytes,
  responseSerialize: bytes,
  responseDeserialize: bytes,
};
const server = new Server({ 'grpc.max_receive_message_length': -1 });
server.addService(
  {
    put: { path: '/bench.Blob/Put', requestStream: true, responseStream: false, ...serializers },
    get: { path: '/bench.Blob/Get', requestStream: false, responseStream: true, ...serializers },
  },
  {
    async put(call: ServerReadableStream<Buffer, Buffer>, callback: (error: Error | null, answer?: Buffer) => void) {
      const hash = createHash('sha256');
      puts++;
      const file = await open(path(), 'wx');
      for await (const message of call as AsyncIterable<Buffer>) {
        hash.update(message);
        await file.write(message);
      }
      await file.sync();
      await file.close();
      callback(null, hash.digest());
    },
    async get(call: ServerWritableStream<Buffer, Buffer>) {
      const hash = createHash('sha256');
      for await (const piece of createReadStream(path(), { highWaterMark: 1024 * 1024 })) {
        hash.update(piece);
        if (!call.write(piece)) await new Promise((resolve) => call.once('drain', resolve));
      }
      call.end();
    },
  },
);
server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  process.send?.(port);
});
process.once('disconnect', () => process.exit(0));
