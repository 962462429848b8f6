import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import fc from 'fast-check';
import { pino } from 'pino';
import { serverConfig } from '../../src/config.js';
import { systemEdge } from '../../src/edge.js';
import type { RpcServer } from '../../src/rpc/server.js';
import { checkedAddress, openDoor } from '../../src/serving/door.js';
import { bareServer } from '../rpc/http2/scene.js';
import { callOn } from '../support/http2-call.js';
import { rounds } from '../support/rounds.js';
import { test } from '../support/serial.js';
import { testIssuer } from './scene.js';

const directory = mkdtempSync(join(tmpdir(), 'memoir-closed-'));
const doors: { close(): void }[] = [];
const servers: RpcServer[] = [];
const sessions: ClientHttp2Session[] = [];
test.after.always(async () => {
  for (const session of sessions) session.destroy();
  for (const server of servers) await server.stop(0);
  for (const door of doors) door.close();
  rmSync(directory, { recursive: true });
});

/** A connection to a server that knows callers by tokens of a file and of an issuer. */
async function connection(open_health: boolean) {
  const file = (name: string, content: unknown) => {
    writeFileSync(join(directory, name), JSON.stringify(content));
    return join(directory, name);
  };
  const issuer = await testIssuer('https://id.example.org');
  const jwks = file('keys.json', { keys: [issuer.jwk] });
  const config = serverConfig.parse({
    data_dir: directory,
    auth: {
      tokens: file('tokens.json', { tokens: [] }),
      issuers: { corp: { issuer: 'https://id.example.org', jwks, audience: ['memoir'], algorithms: ['ES256'] } },
      open_health,
    },
  });
  const door = await openDoor(config, checkedAddress(config), systemEdge, pino({ level: 'silent' }));
  doors.push(door);
  const admission = door.admission;
  if (!admission) throw new Error('nothing has to be proved');
  const limits = { unauthenticated: { calls_burst: 1_000_000 } };
  const server = await bareServer({ admission, limits, rpc: { max_refusals: 1_000_000 } });
  servers.push(server);
  const session = connectHttp2(`http://${server.address}`);
  sessions.push(session);
  return { session, issuer };
}

/** What a call is answered with. */
async function answer(session: ClientHttp2Session, path: string, headers: Record<string, string | string[]> = {}) {
  const { date: _, ...told } = await callOn(session, path, Buffer.alloc(5), headers);
  return told;
}

test('who scans the port without a credential learns nothing of what is there', async (t) => {
  const { session } = await connection(false);
  const nothing = await answer(session, '/no.Such/Method');
  t.is(nothing['grpc-status'], String(status.UNAUTHENTICATED));
  const paths = [
    '/grpc.health.v1.Health/Check',
    '/grpc.health.v1.Health/Watch',
    '/grpc.health.v1.Health/No',
    '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
    '/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo',
    '/memoir.jobs.v1.JobsService/ListJobs',
    '/',
    '//',
    `/${'x'.repeat(5_000)}`,
  ];
  for (const path of paths) t.deepEqual(await answer(session, path), nothing, path);
});

test('health is told to everybody where it is open, and reflection is not', async (t) => {
  const { session } = await connection(true);
  t.is((await answer(session, '/grpc.health.v1.Health/Check'))['grpc-status'], '0');
  const closed = [
    '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
    '/grpc.health.v1.HealthX/Check',
    '/grpc.health.v1/Health/Check',
  ];
  for (const path of closed) {
    t.is((await answer(session, path))['grpc-status'], String(status.UNAUTHENTICATED), path);
  }
});

test('nothing that may stand in authorization is let in, breaks anything, or is INTERNAL', async (t) => {
  const { session, issuer } = await connection(false);
  const good = await issuer.sign();
  const path = '/grpc.health.v1.Health/Check';
  t.is((await answer(session, path, { authorization: `Bearer ${good}` }))['grpc-status'], '0');
  // What HTTP/2 takes in a value: all but control characters, and Latin-1.
  const character = fc.oneof(fc.integer({ min: 0x20, max: 0x7e }), fc.integer({ min: 0x80, max: 0xff }));
  const text = fc.string({ unit: character.map((code) => String.fromCharCode(code)), maxLength: 80 });
  const base64 = fc.base64String({ maxLength: 60 }).map((one) => one.replaceAll('=', ''));
  const json = fc.json({ maxDepth: 3 }).map((one) => Buffer.from(one).toString('base64url'));
  const header = fc
    .record({ alg: fc.constantFrom('none', 'ES256', 'HS256', '', 'es256'), typ: fc.constantFrom('JWT', 'jwt', '') })
    .map((one) => Buffer.from(JSON.stringify(one)).toString('base64url'));
  const token = fc.oneof(
    text,
    fc.tuple(fc.oneof(header, json), json, base64).map((parts) => parts.join('.')),
    fc.nat({ max: good.length - 1 }).map((at) => good.slice(0, at)),
    fc
      .tuple(fc.nat({ max: good.length - 2 }), base64)
      .map(([at, more]) => `${good.slice(0, at)}${more}.${good.slice(at)}`),
    fc.constantFrom(
      'A'.repeat(9_000),
      `${'a.'.repeat(2_000)}a`,
      `memoir_${'A'.repeat(43)}`,
      `memoir_${'é'.repeat(43)}`,
    ),
  );
  const scheme = fc.constantFrom(
    'Bearer ',
    'bearer ',
    'Bearer  ',
    'Bearer\t',
    'Basic ',
    '',
    'Bearer',
    'Bearer Bearer ',
  );
  const one = fc.tuple(scheme, token).map(([before, after]) => before + after);
  await fc.assert(
    fc.asyncProperty(one, async (authorization) => {
      const told = await answer(session, path, { authorization });
      t.is(told['grpc-status'], String(status.UNAUTHENTICATED), authorization);
    }),
    { numRuns: rounds(150, 2_000) },
  );
  // Two of them are not the one that is good.
  for (const twice of [`Bearer ${good}, Bearer ${good}`, `Bearer ${good} `.padEnd(2_000, 'x')]) {
    t.is((await answer(session, path, { authorization: twice }))['grpc-status'], String(status.UNAUTHENTICATED));
  }
  t.is((await answer(session, path, { authorization: `Bearer ${good}` }))['grpc-status'], '0');
});
