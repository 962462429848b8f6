import { connect as connectHttp2, constants } from 'node:http2';
import { connect as connectTcp } from 'node:net';
import { anyUnpack } from '@bufbuild/protobuf/wkt';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import test, { type ExecutionContext } from 'ava';
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RequestInfoSchema,
  RetryInfoSchema,
} from '../../gen/google/rpc/error_details_pb.js';
import { rpcConfig } from '../../src/config/rpc.js';
import { takeStreams } from '../../src/rpc/http2/seam.js';
import { collect } from '../contract/events.js';
import { framed, http2Call, type WireAnswer } from '../support/http2-call.js';
import { makeProject } from '../support/project.js';
import { field, rawCall } from '../support/raw-call.js';
import { failure } from '../support/refused.js';
import { request, uuidOf } from '../support/runs.js';
import { startTestServer } from '../support/server.js';
import { serverOfFile } from '../support/server-of-file.js';
import { until } from '../support/until.js';

const project = makeProject();
const server = serverOfFile({
  repositories: { project: project.repository.path },
  settings: {
    drain_timeout: 1,
    rpc: rpcConfig.parse({ max_connections: 20, max_streams: 200, max_resets: 100, max_header_bytes: 8_192 }),
  },
});
const ada = server.as('ada');
const getSize = '/memoir.jobs.v1.JobsService/GetQueueSize';
const createJob = '/memoir.jobs.v1.JobsService/CreateJob';

test.after.always(() => {
  project.repository.dispose();
});

/** What the details of a status say. */
function detailsOf({ status }: WireAnswer) {
  const all = status?.details ?? [];
  const info = all.map((any) => anyUnpack(any, ErrorInfoSchema)).find((found) => found);
  return {
    reason: info?.reason,
    domain: info?.domain,
    metadata: info?.metadata,
    retry: all.some((any) => anyUnpack(any, RetryInfoSchema)?.retryDelay?.seconds === 1n),
    fields: all.flatMap((any) => anyUnpack(any, BadRequestSchema)?.fieldViolations.map((one) => one.field) ?? []),
    requestId: all.map((any) => anyUnpack(any, RequestInfoSchema)).find((found) => found)?.requestId,
  };
}

test.serial('an empty message that says it is compressed is empty; what is no gzip is a bad request', async (t) => {
  for (const body of [framed(Buffer.alloc(0), 1), framed(Buffer.alloc(0))]) {
    for (const encoding of ['gzip', 'deflate', 'identity']) {
      t.is((await http2Call(server.address(), getSize, body, { 'grpc-encoding': encoding })).code, 0, encoding);
    }
  }
  const bad = await http2Call(server.address(), getSize, framed(Buffer.from('no'), 1), { 'grpc-encoding': 'gzip' });
  t.is(bad.code, 3);
  t.is(detailsOf(bad).reason, 'MALFORMED_MESSAGE');
});

test.serial('a deadline of any length is one, and what is none is a bad request', async (t) => {
  const body = framed(Buffer.alloc(0));
  for (const timeout of ['2147483S', '2147484S', '2592000S', '99999999H', '99999999M', '10S']) {
    t.is((await http2Call(server.address(), getSize, body, { 'grpc-timeout': timeout })).code, 0, timeout);
  }
  for (const timeout of ['', '1', '1X', '123456789S', '-1S', 'x1S']) {
    const answer = await http2Call(server.address(), getSize, body, { 'grpc-timeout': timeout });
    t.is(answer.code, 3, timeout);
    t.is(detailsOf(answer).reason, 'BAD_TIMEOUT');
  }
});

test.serial('a principal that is no one is refused, with its metadata as it was sent', async (t) => {
  const body = framed(Buffer.alloc(0));
  for (const principal of ['', '?', '??', 'ad\u00e9', 'a b', 'x'.repeat(257)]) {
    const answer = await http2Call(server.address(), getSize, body, { 'memoir-principal': principal });
    t.is(answer.code, 3, principal);
    t.is(detailsOf(answer).reason, 'BAD_PRINCIPAL');
  }
  for (const principal of ['what?', 'x'.repeat(256)]) {
    t.is((await http2Call(server.address(), getSize, body, { 'memoir-principal': principal })).code, 0, principal);
  }
});

test.serial('a principal with a space at an end is none: HTTP/2 leaves it out', async (t) => {
  for (const principal of [' ada', 'ada ', ' ', '\tada', undefined]) {
    const body = framed(Buffer.concat([field(1, 'project'), field(2, 'run.sh'), field(3, 'main')]));
    const answer = await http2Call(server.address(), createJob, body, {
      ...(principal !== undefined && { 'memoir-principal': principal }),
    });
    t.is(answer.code, 0);
  }
  const { jobs } = await server.as('root').jobs.listJobs({});
  t.deepEqual([...new Set(jobs.map(({ owner }) => owner))], ['anonymous']);
});

test.serial('one entry of more than 64 KiB ends its connection, as nghttp2 has it, and no other', async (t) => {
  const session = connectHttp2(`http://${server.address()}`, { maxSendHeaderBlockLength: 1_000_000 });
  session.on('error', () => undefined);
  const code = new Promise((resolve) => session.once('goaway', resolve));
  const call = session.request({ ':method': 'POST', ':path': getSize, 'x-one': 'X'.repeat(80_000) });
  call.on('error', () => undefined);
  t.is(await code, constants.NGHTTP2_COMPRESSION_ERROR);
  t.true((await ada.jobs.getQueueSize({})).size >= 0n);
});

test.serial('too much metadata ends one call with RESOURCE_EXHAUSTED, and no other of the connection', async (t) => {
  const uuid = uuidOf(await request(ada));
  const session = connectHttp2(`http://${server.address()}`, { maxSendHeaderBlockLength: 1_000_000 });
  t.teardown(() => session.destroy());
  const ask = (path: string, body: Buffer, more = {}) => {
    const call = session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...more,
    });
    call.end(body);
    return call;
  };
  const neighbour = ask('/memoir.jobs.v1.JobsService/WatchJob', framed(field(1, uuid)));
  await new Promise((resolve) => neighbour.once('data', resolve));
  t.is(session.remoteSettings.maxHeaderListSize, 8_192);
  const entries = Object.fromEntries(Array.from({ length: 25 }, (_, i) => [`x-${i}`, 'x'.repeat(4_000)]));
  for (const more of [entries, { 'x-one': 'x'.repeat(9_000) }]) {
    const big = ask(getSize, framed(Buffer.alloc(0)), more);
    big.on('error', () => undefined);
    await new Promise((resolve) => big.once('close', resolve));
    t.is(big.rstCode, constants.NGHTTP2_ENHANCE_YOUR_CALM, 'which gRPC says is RESOURCE_EXHAUSTED');
  }
  const error = await failure(t, () => rawCall(server.address(), getSize, Buffer.alloc(0), entries));
  t.is(error.code, 8);
  t.false(neighbour.closed);
  t.false(session.closed);
});

test.serial('errors of the library have details, and bad requests are not its INTERNAL', async (t) => {
  const id = { 'x-request-id': 'r-7' };
  const unknown = await http2Call(server.address(), '/x.y/%1b%zz', framed(Buffer.alloc(0)), id);
  t.is(unknown.code, 12);
  t.like(detailsOf(unknown), { reason: 'UNKNOWN_METHOD', domain: 'memoir', requestId: 'r-7', retry: false });
  const large = await http2Call(server.address(), createJob, framed(Buffer.alloc(3 * 1024 * 1024 + 1)), id);
  t.is(large.code, 8);
  t.like(detailsOf(large), { reason: 'MESSAGE_TOO_LARGE', metadata: { limit: '3145728' }, retry: false });
  t.regex(large.status?.message ?? '', /3145729 bytes.*3145728 is the limit/);
  const encoding = await http2Call(server.address(), getSize, framed(Buffer.from('x'), 1), {
    'grpc-encoding': 'snappy',
  });
  t.is(encoding.code, 12);
  t.is(detailsOf(encoding).reason, 'UNIMPLEMENTED');
  const health = await http2Call(server.address(), '/grpc.health.v1.Health/Check', framed(field(1, 'nope')));
  t.is(health.code, 5);
  t.is(detailsOf(health).reason, 'NOT_FOUND');
});

test.serial('no error is longer than 6 KiB of headers, whatever it names', async (t) => {
  const values = ['x', 'é', '字', '👩', '\u0000', '"', '%'];
  for (const value of values) {
    for (const [path, body] of [
      [
        createJob,
        Buffer.concat([
          field(1, 'project'),
          field(2, 'run.sh'),
          field(3, value.repeat(4_096 / Buffer.byteLength(value))),
        ]),
      ],
      [createJob, field(1, value.repeat(80))],
      [`/x/${encodeURIComponent(value.repeat(300))}`, Buffer.alloc(0)],
    ] as const) {
      const answer = await http2Call(server.address(), path, framed(body));
      t.true(answer.code === 3 || answer.code === 12, `${answer.code}`);
      t.true(answer.headerBytes <= 6 * 1024, `${path.slice(0, 40)} ${JSON.stringify(value)}: ${answer.headerBytes}`);
      t.truthy(answer.status?.message);
    }
  }
});

/** Opens calls and resets them, until the connection ends; how many there were and with which code it ended. */
function resetCalls(t: ExecutionContext, most: number): Promise<{ calls: number; code: number | undefined }> {
  return new Promise((resolve) => {
    const session = connectHttp2(`http://${server.address()}`);
    let calls = 0;
    let code: number | undefined;
    session.on('error', () => undefined);
    session.on('goaway', (given: number) => {
      code ??= given;
    });
    session.on('close', () => resolve({ calls, code }));
    const next = () => {
      if (session.closed || session.destroyed) return;
      if (calls >= most) return void session.close();
      calls++;
      const call = session.request({ ':method': 'POST', ':path': getSize, 'content-type': 'application/grpc' });
      call.on('error', () => undefined);
      call.on('close', next);
      call.close(constants.NGHTTP2_CANCEL);
    };
    session.on('connect', next);
    t.teardown(() => session.destroy());
  });
}

test.serial('a connection that resets its calls is ended, and others are answered', async (t) => {
  const few = await resetCalls(t, 90);
  t.is(few.calls, 90);
  t.not(few.code, constants.NGHTTP2_ENHANCE_YOUR_CALM);
  const many = await resetCalls(t, 5_000);
  t.is(many.code, constants.NGHTTP2_ENHANCE_YOUR_CALM);
  t.true(many.calls > 100 && many.calls < 2_000, `${many.calls}`);
  t.true((await ada.jobs.getQueueSize({})).size >= 0n);
});

test.serial('more connections than may be are refused, until others have gone', async (t) => {
  const [host, port] = server.address().split(':') as [string, string];
  const sockets = Array.from({ length: 25 }, () => connectTcp(Number(port), host).on('error', () => undefined));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
  });
  await until('refusal', () => sockets.filter((socket) => socket.closed).length >= 5);
  t.true(sockets.some((socket) => !socket.closed));
  for (const socket of sockets) socket.destroy();
  await until('a connection', async () => {
    return (await http2Call(server.address(), getSize, framed(Buffer.alloc(0))).catch(() => undefined))?.code === 0;
  });
});

test.serial('a client that says nothing does not hold the end up', async (t) => {
  const other = await startTestServer({ settings: { drain_timeout: 60 } });
  const [host, port] = other.address().split(':') as [string, string];
  const silent = connectTcp({ port: Number(port), host, allowHalfOpen: true });
  t.teardown(() => silent.destroy());
  await new Promise((resolve) => silent.once('data', resolve));
  const before = performance.now();
  await other.dispose();
  t.true(performance.now() - before < 30_000, 'before the 60 s that calls are given');
});

test.serial('the seam to the HTTP/2 server of grpc-js fits the version that is installed', async (t) => {
  t.throws(() => takeStreams(new Server()), { message: /cannot be used.*no map http2Servers/s });
  const bare = new Server();
  await new Promise<void>((resolve, reject) =>
    bare.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error) => (error ? reject(error) : resolve())),
  );
  const [underneath, ...others] = takeStreams(bare);
  t.deepEqual(others, []);
  t.is(typeof underneath?.serve, 'function');
  t.throws(() => takeStreams(bare), { message: /0 listeners wait for streams/ });
  bare.forceShutdown();
});

test.serial('an upload that is cut off is no error of the server, and neither are streams that are left', async (t) => {
  const uuid = uuidOf(await request(ada, { scriptParameters: { upload: true } }));
  await ada.worker.claimJob({ uuid });
  for (const timeout of ['100m', undefined]) {
    const session = connectHttp2(`http://${server.address()}`);
    session.on('error', () => undefined);
    const call = session.request({
      ':method': 'POST',
      ':path': '/memoir.worker.v1.WorkerService/AppendJobLog',
      'content-type': 'application/grpc',
      te: 'trailers',
      'memoir-principal': 'ada',
      ...(timeout && { 'grpc-timeout': timeout }),
    });
    call.on('error', () => undefined);
    call.write(framed(Buffer.concat([field(1, uuid), field(2, 'x')])));
    const closed = new Promise((resolve) => call.once('close', resolve));
    if (timeout) await new Promise((resolve) => call.once('response', resolve));
    else {
      const tail = ada.jobs.tailJobLog({ uuid });
      await tail.next();
      await tail.return?.();
    }
    session.destroy();
    await closed;
  }
  t.is((await collect(ada.jobs.tailJobLog({ uuid, noFollow: true }))).length > 0, true);
  t.deepEqual(server.errors, []);
});
