import { connect, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import { build, type Histogram } from 'hdr-histogram-js';

/** Load on one unary method of a gRPC server on loopback. */
export type Load = {
  readonly port: number;
  /** `/package.Service/Method` */
  readonly path: string;
  /** Binary request of call `n`, from 0, of less than 32,000 bytes. The buffer may be used again for the next call. */
  readonly body: (n: number) => Uint8Array;
  /** Calls under way at a time. */
  readonly concurrency: number;
  /** Calls in all, at most. */
  readonly calls: number;
  /** Seconds after which no more calls begin; absent for as long as it takes. */
  readonly seconds?: number;
  /** Further request headers. */
  readonly headers?: Readonly<Record<string, string>>;
  /** What to encrypt with; absent for plain text. */
  readonly tls?: Pick<ConnectionOptions, 'ca' | 'cert' | 'key'> | undefined;
};

/** What a load measured. */
export type Measured = {
  /** Calls in a second. */
  readonly rate: number;
  /** Calls that were made. */
  readonly made: number;
  /** Latencies in microseconds. */
  readonly histogram: Histogram;
};

const callsPerConnection = 64;

/** Largest payload of a frame that every server takes (RFC 9113, section 4.2). */
const largestFrame = 16_384;

/** Largest request, prefix included: a server need not enlarge the window of a connection before half of its 64 KiB is used up. */
const largestBody = 32_000;

/**
 * Calls as fast as the server answers, over plain HTTP/2 frames on sockets of its own (RFC 9113), since a whole client would
 * need more of the machine than the server that is to be measured. HPACK (RFC 7541) is used without its dynamic table. A stream
 * that is reset, or whose trailers are not those of the first call, fails the load.
 */
export async function runLoad(load: Load): Promise<Measured> {
  const histogram = build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: 60_000_000,
    numberOfSignificantValueDigits: 3,
  });
  const connections = Math.ceil(load.concurrency / callsPerConnection);
  const started = process.hrtime.bigint();
  let next = 0;
  const end = load.seconds === undefined ? undefined : started + BigInt(Math.round(load.seconds * 1e9));
  const isOver = () => next >= load.calls || (end !== undefined && process.hrtime.bigint() >= end);
  const take = () => (isOver() ? undefined : next++);
  await Promise.all(
    Array.from({ length: connections }, (_, i) => {
      const share = Math.floor((load.concurrency + i) / connections);
      return drive(load, share, take, histogram);
    }),
  );
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  return { rate: next / seconds, made: next, histogram };
}

const frame = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goAway: 7, windowUpdate: 8 } as const;
const flag = { ack: 1, endStream: 1, endHeaders: 4 } as const;

function drive(load: Load, share: number, take: () => number | undefined, histogram: Histogram): Promise<void> {
  return new Promise((resolve, reject) => {
    const to = { host: '127.0.0.1', port: load.port };
    const socket: Socket = load.tls ? connectTls({ ...to, ...load.tls, ALPNProtocols: ['h2'] }) : connect(to);
    socket.setNoDelay(true);
    socket.once('error', reject);
    const block = headerBlock(load);
    const sentAt = new Map<number, bigint>();
    let nextStream = 1;
    let window = 65_535;
    let stalled = 0;
    let expected: Buffer | undefined;
    let rest: Buffer = Buffer.alloc(0);
    let out: Buffer[] = [];

    function fail(message: string): void {
      socket.destroy();
      reject(new Error(`${load.path}: ${message}`));
    }

    function call(): void {
      if (window < largestBody) {
        stalled++;
        return;
      }
      const n = take();
      if (n === undefined) return;
      const body = load.body(n);
      const stream = nextStream;
      nextStream += 2;
      sentAt.set(stream, process.hrtime.bigint());
      window -= body.length + 5;
      const prefix = Buffer.alloc(5);
      prefix.writeUInt32BE(body.length, 1);
      out.push(frameOf(frame.headers, flag.endHeaders, stream, block));
      const message = Buffer.concat([prefix, body]);
      for (let at = 0; at < message.length; at += largestFrame) {
        const ends = at + largestFrame >= message.length;
        out.push(frameOf(frame.data, ends ? flag.endStream : 0, stream, message.subarray(at, at + largestFrame)));
      }
    }

    function flush(): void {
      if (out.length > 0) socket.write(Buffer.concat(out));
      out = [];
    }

    function ended(stream: number, trailers: Buffer): void {
      const sent = sentAt.get(stream);
      if (sent === undefined) return;
      expected ??= Buffer.from(trailers);
      if (!trailers.equals(expected)) fail(`stream ${stream} ended with other trailers than the first`);
      sentAt.delete(stream);
      histogram.recordValue(Number(process.hrtime.bigint() - sent) / 1_000);
      call();
    }

    function received(type: number, flags: number, stream: number, payload: Buffer): void {
      if (type === frame.headers && flags & flag.endStream) ended(stream, payload);
      if (type === frame.windowUpdate && stream === 0) {
        window += payload.readUInt32BE(0);
        for (; stalled > 0 && window >= largestBody; stalled--) call();
      }
      if (type === frame.settings && !(flags & flag.ack))
        out.push(frameOf(frame.settings, flag.ack, 0, Buffer.alloc(0)));
      if (type === frame.ping && !(flags & flag.ack)) out.push(frameOf(frame.ping, flag.ack, 0, Buffer.from(payload)));
      if (type === frame.reset) fail(`stream ${stream} was reset with code ${payload.readUInt32BE(0)}`);
      if (type === frame.goAway) fail('the server went away');
    }

    socket.on('data', (chunk: Buffer) => {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      let at = 0;
      while (rest.length - at >= 9) {
        const length = rest.readUIntBE(at, 3);
        if (rest.length - at < 9 + length) break;
        const payload = rest.subarray(at + 9, at + 9 + length);
        received(rest[at + 3] as number, rest[at + 4] as number, rest.readUInt32BE(at + 5) & 0x7fffffff, payload);
        at += 9 + length;
      }
      rest = rest.subarray(at);
      flush();
      if (sentAt.size === 0 && stalled === 0) {
        socket.end();
        resolve();
      }
    });

    socket.once(load.tls ? 'secureConnect' : 'connect', () => {
      out.push(Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), settings(), windowUpdate(0x7fff0000 - 65_535));
      for (let i = 0; i < share; i++) call();
      flush();
      if (sentAt.size === 0) {
        socket.end();
        resolve();
      }
    });
  });
}

function frameOf(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** HEADER_TABLE_SIZE 0, so that equal trailers are equal bytes; INITIAL_WINDOW_SIZE of nearly 2 GiB. */
function settings(): Buffer {
  const payload = Buffer.alloc(12);
  payload.writeUInt16BE(1, 0);
  payload.writeUInt32BE(0, 2);
  payload.writeUInt16BE(4, 6);
  payload.writeUInt32BE(0x7fff0000, 8);
  return frameOf(frame.settings, 0, 0, payload);
}

function windowUpdate(increment: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(increment);
  return frameOf(frame.windowUpdate, 0, 0, payload);
}

function headerBlock({ path, port, headers = {}, tls }: Load): Buffer {
  const all = {
    ':method': 'POST',
    ':scheme': tls ? 'https' : 'http',
    ':path': path,
    ':authority': `127.0.0.1:${port}`,
    te: 'trailers',
    'content-type': 'application/grpc',
    ...headers,
  };
  return Buffer.concat(Object.entries(all).map(([name, value]) => literal(name, value)));
}

/** A literal header field without indexing, with a new name, not Huffman coded. */
function literal(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.of(0), text(name), text(value)]);
}

function text(value: string): Buffer {
  return Buffer.concat([length(value.length), Buffer.from(value, 'latin1')]);
}

/** A length as an integer with a prefix of 7 bits (RFC 7541, section 5.1). */
function length(value: number): Buffer {
  if (value < 127) return Buffer.of(value);
  const bytes = [127];
  let rest = value - 127;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return Buffer.from([...bytes, rest]);
}
