import { readFileSync } from 'node:fs';
import { Server, ServerCredentials } from '@grpc/grpc-js';

// The yardstick: a bare grpc-js server that answers with the bytes it was sent. Tells its parent the port. With a certificate and a key
// as arguments it encrypts.

const [cert, key] = process.argv.slice(2);
const credentials =
  cert && key
    ? ServerCredentials.createSsl(null, [{ cert_chain: readFileSync(cert), private_key: readFileSync(key) }])
    : ServerCredentials.createInsecure();

const bytes = (message: Buffer) => message;
const server = new Server();
server.addService(
  {
    echo: {
      path: '/bench.Echo/Echo',
      requestStream: false,
      responseStream: false,
      requestSerialize: bytes,
      requestDeserialize: bytes,
      responseSerialize: bytes,
      responseDeserialize: bytes,
    },
  },
  {
    echo: (call: { request: Buffer }, callback: (error: null, answer: Buffer) => void) => callback(null, call.request),
  },
);
server.bindAsync('127.0.0.1:0', credentials, (error, port) => {
  if (error) throw error;
  process.send?.(port);
});
process.once('disconnect', () => process.exit(0));
