import { connect } from 'node:http2';

// Many readers of one server-streaming method, in a process of their own, on plain HTTP/2: a whole gRPC client would need more of the
// machine than the server that is measured. Arguments: port, path, number of readers, how many of them are stuck and read nothing,
// the request in hexadecimal digits, principal. Tells its parent `ready` when each reader that reads has got its first message, then
// answers "count" with when all of them had got so many messages more, and "lags" with the milliseconds that messages took since
// they were recorded.

/** Readers of one connection. */
const perConnection = Number(process.env.BENCH_PER_CONNECTION ?? 100);

/** What a connection may have under way, in bytes: the 64 KiB of HTTP/2 would be what is measured. gRPC's own clients grow theirs. */
const window = 16 * 1024 * 1024;

const [port = '', path = '', many = '', stuck = '', request = '', principal = ''] = process.argv.slice(2);
const body = Buffer.from(request, 'hex');
const framed = Buffer.concat([Buffer.alloc(5), body]);
framed.writeUInt32BE(body.length, 1);

let wanted = Number.POSITIVE_INFINITY;
let bytes = 0;
let lags: number[] | undefined;
const counts: number[] = [];

const readers = Number(many);
let connection = open();
for (let i = 0; i < readers; i++) {
  if (i > 0 && i % perConnection === 0) connection = open();
  const stream = connection.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
    'memoir-principal': principal,
  });
  stream.on('error', () => undefined);
  stream.end(framed);
  if (i < Number(stuck)) continue;
  const reader = counts.push(-1) - 1;
  let rest: Buffer = Buffer.alloc(0);
  stream.on('data', (chunk: Buffer) => {
    let data = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk;
    while (data.length >= 5 && data.length >= 5 + data.readUInt32BE(1)) {
      const end = 5 + data.readUInt32BE(1);
      bytes += end;
      if (lags && reader === 0) lags.push(lagOf(data.subarray(5, end)));
      data = data.subarray(end);
      heard(reader);
    }
    rest = data;
  });
}

let behind = counts.length;

function open() {
  return connect(`http://127.0.0.1:${port}`)
    .on('connect', (session) => session.setLocalWindowSize(window))
    .on('error', () => process.exit());
}

function heard(reader: number): void {
  const count = (counts[reader] ?? 0) + 1;
  counts[reader] = count;
  if (count === 0 && counts.every((one) => one >= 0)) process.send?.({ ready: true });
  if (count === wanted && --behind === 0) process.send?.({ done: Number(process.hrtime.bigint()) / 1e6, bytes, lags });
}

/** Milliseconds since an event was recorded, which it tells in milliseconds: half of one more on average. */
function lagOf(message: Buffer): number {
  const recorded = recordedAt(message);
  return recorded === undefined ? Number.NaN : performance.timeOrigin + performance.now() - recorded;
}

/** `event.recorded_at` of a SubscribeEventsResponse, in milliseconds: fields 3, then 6, read from the wire format. */
function recordedAt(message: Buffer): number | undefined {
  const event = fieldOf(message, 3);
  const time = event && fieldOf(event, 6);
  if (!time) return undefined;
  const seconds = varintOf(time, 1);
  return seconds * 1_000 + varintOf(time, 2) / 1e6;
}

function* fields(message: Buffer): Generator<{ number: number; value: number; content?: Buffer }> {
  for (let at = 0; at < message.length; ) {
    const [tag, behindTag] = varint(message, at);
    const [value, behindValue] = varint(message, behindTag);
    at = behindValue;
    if ((tag & 7) === 2) {
      yield { number: tag >>> 3, value, content: message.subarray(at, at + value) };
      at += value;
    } else yield { number: tag >>> 3, value };
  }
}

function fieldOf(message: Buffer, number: number): Buffer | undefined {
  for (const field of fields(message)) if (field.number === number) return field.content;
  return undefined;
}

function varintOf(message: Buffer, number: number): number {
  for (const field of fields(message)) if (field.number === number) return field.value;
  return 0;
}

function varint(message: Buffer, from: number): [value: number, behind: number] {
  let value = 0;
  let at = from;
  for (let factor = 1; ; factor *= 128, at++) {
    const byte = message[at] ?? 0;
    value += (byte & 0x7f) * factor;
    if (byte < 0x80) return [value, at + 1];
  }
}

process.on('message', (asked: { count: number; lags?: boolean }) => {
  counts.fill(0);
  behind = counts.length;
  bytes = 0;
  wanted = asked.count;
  lags = asked.lags ? [] : undefined;
  process.send?.({ armed: true });
});
process.once('disconnect', () => process.exit());
