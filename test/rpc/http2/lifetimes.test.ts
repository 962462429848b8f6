import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type ClientHttp2Session, connect as connectHttp2, constants } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { credentials, status } from '@grpc/grpc-js';
import { pino } from 'pino';
import { openTlsFiles } from '../../../src/auth/tls-files.js';
import { tlsConfig } from '../../../src/config/auth.js';
import { unauthenticated } from '../../../src/domain/callers/credential.js';
import { systemEdge } from '../../../src/edge.js';
import { openAdmission } from '../../../src/rpc/http2/admission.js';
import { makeAuthority } from '../../support/certificates.js';
import { rounds } from '../../support/rounds.js';
import { test } from '../../support/serial.js';
import { bareServer, healthClient, mutingProxy } from './scene.js';

/** Connects, says what `say` says, and resolves when the server has ended it. */
function silentSocket(
  address: string,
  say?: Buffer,
): { readonly open: Promise<Socket>; readonly gone: Promise<unknown> } {
  const [host = '', port] = address.split(':');
  const socket = connect(Number(port), host);
  socket.on('error', () => undefined);
  const open = once(socket, 'connect').then(() => {
    if (say) socket.write(say);
    return socket.resume();
  });
  return { open, gone: new Promise((resolve) => socket.once('close', resolve)) };
}

/** The beginning of a ClientHello, and no more. */
const halfHello = Buffer.from('1603010200010001fc0303', 'hex');

test('many connections that never speak HTTP/2 keep nobody from being answered, and end by a limit', async (t) => {
  const authority = makeAuthority();
  const directory = mkdtempSync(join(tmpdir(), 'memoir-half-open-'));
  const file = (name: string, content: Buffer) => {
    writeFileSync(join(directory, name), content);
    return join(directory, name);
  };
  const { key, certificate } = authority.certify('IP:127.0.0.1');
  const settings = tlsConfig.parse({ cert: file('cert.pem', certificate), key: file('key.pem', key) });
  const files = openTlsFiles(settings, 2_000, systemEdge, pino({ level: 'silent' }));
  const many = rounds(250, 1_000);
  async function heldOpen(tls: typeof files.credentials | undefined, say: Buffer | undefined) {
    const server = await bareServer({ rpc: { handshake_timeout: 2 }, ...(tls && { tls }) });
    const client = healthClient(server.address, tls ? credentials.createSsl(authority.ca()) : undefined);
    const silent = Array.from({ length: many }, () => silentSocket(server.address, say));
    const sockets = await Promise.all(silent.map(({ open }) => open));
    await client.check();
    t.true(
      sockets.some(({ destroyed }) => !destroyed),
      'some are still there when another is answered',
    );
    await Promise.all(silent.map(({ gone }) => gone));
    await client.check();
    client.close();
    await server.stop(0);
  }
  try {
    const preface = Buffer.from('PRI * HTTP/2.0\r\n');
    await Promise.all([heldOpen(undefined, undefined), heldOpen(undefined, preface)]);
    await Promise.all([heldOpen(files.credentials, undefined), heldOpen(files.credentials, halfHello)]);
  } finally {
    files.close();
    authority.dispose();
    rmSync(directory, { recursive: true });
  }
});

test('a handshake that goes on byte by byte ends like one that says nothing', async (t) => {
  const server = await bareServer({ rpc: { handshake_timeout: 0.3 } });
  const { open, gone } = silentSocket(server.address);
  const socket = await open;
  const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  let sent = 0;
  const timer = setInterval(() => {
    if (sent < preface.length) socket.write(preface.subarray(sent, ++sent));
  }, 20);
  await gone;
  clearInterval(timer);
  t.true(sent < preface.length);
  await server.stop(0);
});

test('calls of a client that is no longer there end as UNAVAILABLE; one that is there keeps its own', async (t) => {
  const server = await bareServer({ rpc: { keepalive_time: 0.2, keepalive_timeout: 0.4 } });
  const proxy = await mutingProxy(server.address);
  const [lost, other] = [healthClient(proxy.address), healthClient(server.address)];
  const [watched, kept] = [lost.watch(), other.watch()];
  await Promise.all([watched.begun, kept.begun]);
  proxy.mute();
  const error = await watched.ended;
  t.is(status[error.code], 'UNAVAILABLE', error.message);
  // Several questions later.
  await new Promise((resolve) => setTimeout(resolve, 700));
  kept.cancel();
  t.is(status[(await kept.ended).code], 'CANCELLED');
  for (const one of [lost, other]) one.close();
  proxy.close();
  await server.stop(0);
});

/** The code of the GOAWAY that a session gets. */
const goneAway = (session: ClientHttp2Session) => once(session, 'goaway').then(([code]) => code as number);

test('a connection without calls ends after its time, one with calls does not', async (t) => {
  const server = await bareServer({ rpc: { max_idle: 0.3 } });
  const client = healthClient(server.address);
  const kept = client.watch();
  await kept.begun;
  const idle = connectHttp2(`http://${server.address}`);
  t.is(await goneAway(idle), constants.NGHTTP2_NO_ERROR);
  await once(idle, 'close');
  await client.check();
  kept.cancel();
  t.is(status[(await kept.ended).code], 'CANCELLED');
  // It ends by itself then, and the next call makes another.
  await new Promise((resolve) => setTimeout(resolve, 600));
  await client.check();
  client.close();
  await server.stop(0);
});

test('a connection that is too old takes no new calls, and those under way have a grace', async (t) => {
  const server = await bareServer({ rpc: { max_age: 0.3, age_grace: 0.4 } });
  const [old, direct] = [healthClient(server.address), connectHttp2(`http://${server.address}`)];
  const watched = old.watch();
  await watched.begun;
  t.is(await goneAway(direct), constants.NGHTTP2_NO_ERROR);
  await old.check();
  const error = await watched.ended;
  t.is(status[error.code], 'UNAVAILABLE', error.message);
  old.close();
  await server.stop(0);
});

test('a connection that goes on with calls which are refused is ended, others are answered', async (t) => {
  const admission = openAdmission(
    () => {
      throw unauthenticated('NO_CREDENTIAL', 'the call proves nobody');
    },
    (path) => path.startsWith('/grpc.health.v1.Health/'),
  );
  const unauthenticatedLimits = { calls_per_second: 0.1, calls_burst: 10 };
  const server = await bareServer({
    admission,
    rpc: { max_refusals: 50 },
    limits: { unauthenticated: unauthenticatedLimits },
  });
  const session = connectHttp2(`http://${server.address}`);
  session.on('error', () => undefined);
  const away = goneAway(session);
  const codes = new Map<string, number>();
  const call = () =>
    new Promise<void>((resolve) => {
      const headers = {
        ':method': 'POST',
        ':path': '/memoir.jobs.v1.JobsService/ListJobs',
        'content-type': 'application/grpc',
      };
      const stream = session.request(headers);
      stream.on('response', ({ 'grpc-status': code }) => codes.set(String(code), (codes.get(String(code)) ?? 0) + 1));
      stream.on('error', () => undefined);
      stream.on('close', resolve);
      stream.resume();
      stream.end();
    });
  while (!session.closed && !session.destroyed) await call();
  t.is(await away, constants.NGHTTP2_ENHANCE_YOUR_CALM);
  // The first are told why, later ones that there were too many: nobody tries tokens without end.
  t.is(codes.get(String(status.UNAUTHENTICATED)), 10);
  t.true((codes.get(String(status.RESOURCE_EXHAUSTED)) ?? 0) >= 39);
  // Health from the same address has no more either.
  const client = healthClient(server.address);
  const error = (await t.throwsAsync(client.check())) as { code?: number };
  t.is(error.code, status.RESOURCE_EXHAUSTED);
  client.close();
  await server.stop(0);
});

test('where connections misbehaved, new ones wait a second and are served then', async (t) => {
  const server = await bareServer({ rpc: { max_resets: 5 } });
  const other = healthClient(server.address);
  await other.check();
  const cutOff = async () => {
    const session = connectHttp2(`http://${server.address}`);
    session.on('error', () => undefined);
    const closed = once(session, 'close').catch(() => undefined);
    session.on('connect', () => {
      for (let i = 0; i < 20; i++) {
        const call = session.request({ ':method': 'POST', ':path': '/grpc.health.v1.Health/Watch' });
        call.on('error', () => undefined);
        call.close(constants.NGHTTP2_CANCEL);
      }
    });
    await closed;
  };
  for (let i = 0; i < 4; i++) await cutOff();
  const before = performance.now();
  const late = healthClient(server.address);
  const checked = late.check().then(() => performance.now() - before);
  // One that is there already notices nothing.
  await other.check();
  t.true(performance.now() - before < 900);
  const waited = await checked;
  t.true(waited > 500 && waited < 10_000, `${waited}`);
  for (const client of [late, other]) client.close();
  await server.stop(0);
});
