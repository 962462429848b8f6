import { Server, ServerCredentials, type ServerWritableStream } from '@grpc/grpc-js';

// The yardstick of subscribers: a bare grpc-js server that, when its parent says how many and how long, writes equal messages to
// every stream that is open, each as fast as its reader takes them. Tells its parent the port.

const bytes = (message: Buffer) => message;
const open = new Set<ServerWritableStream<Buffer, Buffer>>();
const server = new Server();
server.addService(
  {
    send: {
      path: '/bench.Stream/Send',
      requestStream: false,
      responseStream: true,
      requestSerialize: bytes,
      requestDeserialize: bytes,
      responseSerialize: bytes,
      responseDeserialize: bytes,
    },
  },
  {
    send(call: ServerWritableStream<Buffer, Buffer>) {
      open.add(call);
      call.on('cancelled', () => open.delete(call));
      // As Memoir tells its subscribers that they are live.
      call.write(Buffer.alloc(40));
    },
  },
);

process.on('message', ({ count, size }: { count: number; size: number }) => {
  const message = Buffer.alloc(size, 'x');
  for (const call of open) {
    let left = count;
    const write = () => {
      while (left > 0) {
        left--;
        if (!call.write(message)) {
          call.once('drain', write);
          return;
        }
      }
    };
    write();
  }
});

server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  process.send?.(port);
});
process.once('disconnect', () => process.exit(0));
