import { connect } from 'node:net';
import { create, toBinary } from '@bufbuild/protobuf';
import { SubscribeEventsRequestSchema } from '../gen/memoir/history/v1/history_service_pb.js';
import { ListJobsRequestSchema } from '../gen/memoir/jobs/v1/jobs_service_pb.js';

// Does to a server what a caller may, as fast as the system takes the bytes, and connects again when it is cut off. Its arguments are the port, and of
// what: calls, lists, streams, resets, or all of them. Tells its parent how many calls it has made, ten times a second.

const [portText, kind = 'all'] = process.argv.slice(2);
const port = Number(portText);
let made = 0;

const jobs = '/memoir.jobs.v1.JobsService/';
const list = toBinary(ListJobsRequestSchema, create(ListJobsRequestSchema, {}));
const fromNow = { start: { case: 'now', value: {} } } as const;
const subscribe = toBinary(SubscribeEventsRequestSchema, create(SubscribeEventsRequestSchema, fromNow));

/** What is called, with what, and whether it is reset at once. */
type Call = { readonly head: Buffer; readonly body: Uint8Array; readonly reset?: boolean };
const calls: Readonly<Record<string, Call>> = {
  calls: { head: headersOf(`${jobs}GetQueueSize`), body: new Uint8Array() },
  lists: { head: headersOf(`${jobs}ListJobs`), body: list },
  streams: { head: headersOf('/memoir.history.v1.HistoryService/SubscribeEvents'), body: subscribe },
  resets: { head: headersOf(`${jobs}GetQueueSize`), body: new Uint8Array(), reset: true },
};
const mix = kind === 'all' ? Object.values(calls) : [calls[kind] as Call];

function literal(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.of(0, name.length), Buffer.from(name), Buffer.of(value.length), Buffer.from(value)]);
}

function headersOf(path: string): Buffer {
  return Buffer.concat([
    literal(':method', 'POST'),
    literal(':scheme', 'http'),
    literal(':path', path),
    literal('content-type', 'application/grpc'),
    literal('te', 'trailers'),
    literal('memoir-principal', 'attacker'),
  ]);
}

function head(length: number, type: number, flags: number, stream: number): Buffer {
  const bytes = Buffer.alloc(9);
  bytes.writeUIntBE(length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(stream, 5);
  return bytes;
}

const cancelled = Buffer.of(0, 0, 0, 8);

function framesOf({ head: block, body, reset }: Call, stream: number): Buffer[] {
  const headers = [head(block.length, 1, 4, stream), block];
  if (reset) return [...headers, head(4, 3, 0, stream), cancelled];
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(body.length, 1);
  return [...headers, head(5 + body.length, 0, 1, stream), prefix, Buffer.from(body)];
}

/** Bytes of messages that a connection takes before the server says that there may be more, which this client does not listen for. */
const window = 65_535;

function attack(): void {
  const socket = connect(port, '127.0.0.1');
  let stream = 1;
  let sent = 0;
  const flood = () => {
    for (let more = true; more && !socket.destroyed; ) {
      const pieces: Buffer[] = [];
      for (let i = 0; i < 100; i++, stream += 2, made++) {
        const call = mix[made % mix.length] as Call;
        sent += call.reset ? 0 : 5 + call.body.length;
        if (sent > window) {
          socket.end(Buffer.concat(pieces));
          return;
        }
        pieces.push(...framesOf(call, stream));
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

attack();
process.send?.(port);
setInterval(() => process.send?.(made), 100).unref();
// Whatever becomes of its parent, it ends.
setTimeout(() => process.exit(0), 120_000).unref();
process.once('disconnect', () => process.exit(0));
