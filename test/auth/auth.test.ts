import { execFile, execFileSync } from 'node:child_process';
import { createHmac, X509Certificate } from 'node:crypto';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { status } from '@grpc/grpc-js';
import test from 'ava';
import fc from 'fast-check';
import {
  Capabilities,
  ContentAddressableStorage,
} from '../../gen/build/bazel/remote/execution/v2/remote_execution_pb.js';
import { ByteStream } from '../../gen/google/bytestream/bytestream_pb.js';
import { JobState } from '../../gen/memoir/jobs/v1/job_pb.js';
import { makeToken, revokeTokens } from '../../src/auth/token-file.js';
import { openSqliteLog } from '../../src/eventstore/sqlite/store.js';
import { CallError } from '../../src/rpc/call-error.js';
import { connect } from '../../src/rpc/client.js';
import { runMemoir } from '../support/command.js';
import { statusOn } from '../support/http2-call.js';
import { failure } from '../support/refused.js';
import { memoirServices } from '../support/services.js';
import { until } from '../support/until.js';
import { scene, type TestIssuer, testIssuer } from './scene.js';

const everyService = [...memoirServices, ByteStream, Capabilities, ContentAddressableStorage];

// One server for all.
let at: Awaited<ReturnType<typeof scene>>;
const day = 86_400_000;
const memoir = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const seconds = () => Math.floor(Date.now() / 1_000);

test.serial.before(async () => {
  at = await scene();
});
test.serial.after.always(() => at?.dispose());

/** A token of the file. */
async function fileToken(name: string, lifetimeMs = day, now = Date.now()) {
  const { token, made } = await makeToken(at.files.tokens, name, { now, lifetimeMs });
  return { token, id: made.id };
}

const b64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

test.serial('a token of the file, a signed one and each kind of certificate tell who calls', async (t) => {
  const { token, id } = await fileToken('ci');
  const { farm, hosts, people } = at.authorities;
  const cases = [
    [{ token }, 'token:ci', 'token', id],
    [{ token: await at.issuers.corp.sign({ jti: 'a-1', groups: ['dev', 'ops'] }) }, 'corp:ada', 'jwt', 'corp/a-1'],
    [
      { certificate: farm.certify('URI:spiffe://farm.example.org/worker/7') },
      'farm:worker/7',
      'certificate',
      /^farm\//,
    ],
    [{ certificate: hosts.certify('DNS:Node1.example.org') }, 'hosts:node1.example.org', 'certificate', /^hosts\//],
    [{ certificate: people.certify('DNS:x.example.org', 'now', 'eve') }, 'person/eve', 'certificate', /^people\//],
  ] as const;
  for (const [proof, principal, kind, told] of cases) {
    const who = await until(`${principal} is known`, () =>
      at
        .as(proof)
        .callers.whoAmI({ repository: 'project' })
        .catch((error: CallError) => (error.reason === 'INVALID_TOKEN' ? undefined : Promise.reject(error))),
    );
    t.is(who.principal, principal);
    t.is(who.credentialKind, kind);
    if (typeof told === 'string') t.is(who.credentialId, told);
    else t.regex(who.credentialId, told);
    t.true(who.may.includes('read'));
    // A group that is not in the issuer's list gives nothing.
    t.false(who.administersAll);
    if (kind === 'jwt') t.deepEqual(who.groups, ['dev']);
  }
});

test.serial('what cannot be believed is UNAUTHENTICATED, each with its reason', async (t) => {
  const { corp } = at.issuers;
  const { farm, hosts, people, unknown, own } = at.authorities;
  const other = await testIssuer('https://id.example.org', 'ES256', 'key of https://id.example.org');
  const unlisted = await testIssuer('https://id.example.org', 'ES384', 'another key');
  const good = await corp.sign();
  const [head = '', body = '', signature = ''] = good.split('.');
  const publicText = JSON.stringify(corp.jwk);
  const hmac = (secret: string) => {
    const input = `${b64({ alg: 'HS256', typ: 'JWT', kid: corp.jwk.kid })}.${body}`;
    return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`;
  };
  const gateway = farm.certify('URI:spiffe://farm.example.org/gateway');
  const worker = farm.certify('URI:spiffe://farm.example.org/worker/8');
  const expiredToken = await fileToken('old', 1_000, Date.now() - day);
  const revokedToken = await fileToken('gone');
  await revokeTokens(at.files.tokens, ({ id }) => id === revokedToken.id, Date.now());
  // The file is read again within a second.
  await until('the tokens are read', async () => {
    const error = await at
      .as({ token: revokedToken.token })
      .callers.whoAmI({})
      .catch((thrown: CallError) => thrown);
    return error instanceof CallError && error.reason === 'TOKEN_REVOKED';
  });
  const signed = (claims: Parameters<typeof corp.sign>[0], header = {}) =>
    corp.sign(claims, header).then((token) => ({ token }));
  const certified = (...args: Parameters<typeof farm.certify>) => ({ certificate: farm.certify(...args) });

  const table: readonly (readonly [what: string, proof: Parameters<typeof at.as>[0], reason: string])[] = [
    ['nothing', {}, 'NO_CREDENTIAL'],
    ['a token of the file that nobody made', { token: `memoir_${'A'.repeat(43)}` }, 'INVALID_TOKEN'],
    ['one that is cut off', { token: revokedToken.token.slice(0, -1) }, 'INVALID_TOKEN'],
    ['an expired one', { token: expiredToken.token }, 'TOKEN_EXPIRED'],
    ['a revoked one', { token: revokedToken.token }, 'TOKEN_REVOKED'],
    ['text', { token: 'abc' }, 'INVALID_TOKEN'],
    ['an expired JWT', await signed({ exp: seconds() - 60 }), 'TOKEN_EXPIRED'],
    ['one that is not valid yet', await signed({ nbf: seconds() + 600 }), 'TOKEN_NOT_YET_VALID'],
    ['one for another', await signed({ aud: 'billing' }), 'WRONG_AUDIENCE'],
    ['one for nobody', await signed({ aud: undefined }), 'WRONG_CLAIM'],
    ['one without an end', await signed({ exp: undefined }), 'WRONG_CLAIM'],
    ['one with a bent end', await signed({ exp: '9999999999' as never }), 'WRONG_CLAIM'],
    ['one without a subject', await signed({ sub: undefined }), 'WRONG_CLAIM'],
    ['one with an empty subject', await signed({ sub: '' }), 'WRONG_CLAIM'],
    ['one whose subject has a space', await signed({ sub: 'ada b' }), 'WRONG_CLAIM'],
    ['one whose subject is no text', await signed({ sub: ['ada'] as never }), 'WRONG_CLAIM'],
    ['one that lives too long', await signed({ exp: seconds() + 40 * 86_400 }), 'TOKEN_LIVES_TOO_LONG'],
    ['one that began long ago', await signed({ iat: seconds() - 40 * 86_400 }), 'TOKEN_LIVES_TOO_LONG'],
    [
      'one that lives too long and says that it begins later',
      await signed({ iat: seconds() + 40 * 86_400, exp: seconds() + 41 * 86_400 }),
      'TOKEN_LIVES_TOO_LONG',
    ],
    ['one of another type', await signed({}, { typ: 'logout+jwt' }), 'WRONG_TOKEN_TYPE'],
    ['one of no type', await signed({}, { typ: undefined as never }), 'WRONG_TOKEN_TYPE'],
    ['one of an unknown issuer', await signed({ iss: 'https://evil.example.org' }), 'INVALID_TOKEN'],
    ['one of no issuer', await signed({ iss: undefined }), 'INVALID_TOKEN'],
    ['one with a key that is not the issuer’s', { token: await other.sign() }, 'INVALID_TOKEN'],
    ['one with a key that nobody knows', { token: await unlisted.sign() }, 'INVALID_TOKEN'],
    ['one that was changed', { token: `${head}.${b64({ sub: 'root', aud: 'memoir' })}.${signature}` }, 'INVALID_TOKEN'],
    ['one whose key is named by what is no text', await signed({}, { kid: 7 as never }), 'INVALID_TOKEN'],
    ['one with its signature cut off', { token: `${head}.${body}.` }, 'INVALID_TOKEN'],
    ['alg none', { token: `${b64({ alg: 'none', typ: 'JWT' })}.${body}.` }, 'INVALID_TOKEN'],
    ['alg None', { token: `${b64({ alg: 'None', typ: 'JWT' })}.${body}.` }, 'INVALID_TOKEN'],
    ['the public key as a secret', { token: hmac(publicText) }, 'INVALID_TOKEN'],
    ['the public key’s coordinate as a secret', { token: hmac(String(corp.jwk.x)) }, 'INVALID_TOKEN'],
    ['a key of the token’s own', { token: await other.sign({}, { jwk: other.jwk } as never) }, 'INVALID_TOKEN'],
    ['an unknown critical header', { token: await rawHeader(corp.jwk.kid, body) }, 'INVALID_TOKEN'],
    ['a certificate of an unknown authority', { certificate: unknown.certify('DNS:node1') }, 'INVALID_CERTIFICATE'],
    ['one of the server’s own authority', { certificate: own.certify('DNS:node1') }, 'INVALID_CERTIFICATE'],
    ['an expired one', certified('URI:spiffe://farm.example.org/worker/7', 'past'), 'CERTIFICATE_EXPIRED'],
    ['one of another trust domain', certified('URI:spiffe://evil.example.org/worker/7'), 'INVALID_CERTIFICATE'],
    [
      'one of two URIs',
      certified('URI:spiffe://farm.example.org/a,URI:spiffe://farm.example.org/b'),
      'INVALID_CERTIFICATE',
    ],
    [
      'one that may sign others by its key usage',
      certified('URI:spiffe://farm.example.org/worker/7\nkeyUsage=digitalSignature,keyCertSign'),
      'INVALID_CERTIFICATE',
    ],
    ['one of no URI', certified('DNS:farm.example.org'), 'INVALID_CERTIFICATE'],
    ['one whose URI climbs', certified('URI:spiffe://farm.example.org/a/../b'), 'INVALID_CERTIFICATE'],
    ['one of no path', certified('URI:spiffe://farm.example.org/'), 'INVALID_CERTIFICATE'],
    [
      'a URI where a DNS name is asked for',
      { certificate: hosts.certify('URI:spiffe://farm.example.org/a') },
      'INVALID_CERTIFICATE',
    ],
    ['two DNS names', { certificate: hosts.certify('DNS:a.example.org,DNS:b.example.org') }, 'INVALID_CERTIFICATE'],
    ['a DNS name of many', { certificate: hosts.certify('DNS:*.example.org') }, 'INVALID_CERTIFICATE'],
    [
      'a name that looks like two (CVE-2021-44532)',
      { certificate: hosts.certify('@names\n[names]\nURI.1=http://x/,DNS:node1.example.org') },
      'INVALID_CERTIFICATE',
    ],
    ['a common name with a space', { certificate: people.certify('DNS:x', 'now', 'eve adams') }, 'INVALID_CERTIFICATE'],
    [
      'a bad certificate beside a good token',
      { token: good, certificate: unknown.certify('DNS:node1') },
      'INVALID_CERTIFICATE',
    ],
    [
      'a token beside a certificate that may not call for others',
      { token: good, certificate: worker },
      'CREDENTIALS_DISAGREE',
    ],
    ['a bad token beside a good certificate', { token: 'abc', certificate: gateway }, 'INVALID_TOKEN'],
  ];
  for (const [what, proof, reason] of table) {
    const error = await failure(t, () => at.as(proof).callers.whoAmI({}));
    t.deepEqual([status[error.code], error.reason], ['UNAUTHENTICATED', reason], `${what}: ${error.message}`);
    for (const secret of [proof?.token, corp.jwk.kid])
      if (secret) t.false(error.message.includes(String(secret)), what);
  }
});

/** A certificate of a worker that another one between it and the farm's authority signed, with what that is allowed. */
function certifiedBelow(constraints: string) {
  const { caFile } = at.authorities.farm;
  const file = (name: string) => join(at.directory, name);
  const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'pipe' });
  const sign = (name: string, extensions: string, ca: string, caKey: string) => {
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', file(`${name}.key`)];
    openssl('req', ...key, '-out', file(`${name}.csr`), '-subj', `/CN=${name}`);
    writeFileSync(file('extensions'), extensions);
    const by = ['-CA', ca, '-CAkey', caKey, '-CAcreateserial', '-days', '2', '-extfile', file('extensions')];
    openssl('x509', '-req', '-in', file(`${name}.csr`), '-out', file(`${name}.pem`), ...by);
  };
  sign('between', `basicConstraints=critical,${constraints}\n`, caFile, caFile.replace('ca.pem', 'ca-key.pem'));
  const names = 'subjectAltName=URI:spiffe://farm.example.org/worker/below\n';
  sign('below', names, file('between.pem'), file('between.key'));
  const certificate = Buffer.concat([readFileSync(file('below.pem')), readFileSync(file('between.pem'))]);
  return { key: readFileSync(file('below.key')), certificate };
}

test.serial('a certificate may be below another one, if that may sign', async (t) => {
  const certificate = certifiedBelow('CA:TRUE,pathlen:0');
  const { callers } = at.as({ certificate });
  t.is((await callers.whoAmI({})).principal, 'farm:worker/below');
  // Denying the one between takes those below it along, also where they are connected.
  const { serialNumber } = new X509Certificate(readFileSync(join(at.directory, 'between.pem')));
  const told = () =>
    callers
      .whoAmI({})
      .then(({ principal }) => principal)
      .catch(({ reason }: CallError) => reason);
  writeFileSync(at.files.denied, `${serialNumber}\n`);
  await until('it is denied', async () => (await told()) === 'CERTIFICATE_REVOKED');
  writeFileSync(at.files.denied, '');
  await until('it is not any more', async () => (await told()) === 'farm:worker/below');
  const own = { key: certificate.key, certificate: readFileSync(join(at.directory, 'below.pem')) };
  // One that signs others is nobody's, although it has a name.
  certifiedBelow('CA:TRUE,pathlen:0\nsubjectAltName=URI:spiffe://farm.example.org/worker/between');
  const between = {
    key: readFileSync(join(at.directory, 'between.key')),
    certificate: readFileSync(join(at.directory, 'between.pem')),
  };
  const proofs = [certifiedBelow('CA:FALSE'), own, between];
  for (const proof of proofs) {
    const error = await failure(t, () => at.as({ certificate: proof }).callers.whoAmI({}));
    t.is(error.reason, 'INVALID_CERTIFICATE');
  }
});

test.serial('a connection with a certificate is not resumed, so that it is looked at whole each time', async (t) => {
  const [host = '', port] = at.server.address().split(':');
  const client = at.authorities.hosts.certify('DNS:node2.example.org');
  const to = {
    host,
    port: Number(port),
    ca: at.authorities.own.ca(),
    ALPNProtocols: ['h2'],
    key: client.key,
    cert: client.certificate,
  };
  const reused = (maxVersion: 'TLSv1.2' | 'TLSv1.3', session?: Buffer) =>
    new Promise<{ reused: boolean; session: Buffer | undefined }>((resolve, reject) => {
      const socket = connectTls({ ...to, maxVersion, ...(session && { session }) });
      let ticket: Buffer | undefined;
      socket.on('session', (given: Buffer) => {
        ticket = given;
      });
      // The server's settings come after all that a handshake leaves.
      socket.once('data', () => {
        resolve({ reused: socket.isSessionReused(), session: ticket ?? socket.getSession() });
        socket.destroy();
      });
      socket.on('error', reject);
    });
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    const { session } = await reused(version);
    t.false((await reused(version, session)).reused, version);
  }
});

/** A token whose header asks for what nobody knows. */
async function rawHeader(kid: string, body: string): Promise<string> {
  return `${b64({ alg: 'ES256', typ: 'JWT', kid, crit: ['magic'], magic: true })}.${body}.${'A'.repeat(86)}`;
}

test.serial('a service calls for a user where it may, and events tell by what', async (t) => {
  const gateway = at.authorities.farm.certify('URI:spiffe://farm.example.org/gateway');
  const token = await at.issuers.corp.sign({ jti: 'b-2', groups: 'dev' });
  const { jobs, callers } = at.as({ token, certificate: gateway });
  const who = await callers.whoAmI({});
  t.like(who, { principal: 'corp:ada', actor: 'farm:gateway', credentialId: 'corp/b-2', delegates: false });
  const { job } = await jobs.createJob({
    repository: 'project',
    script: 'run.sh',
    scriptVersion: 'HEAD',
    scriptParameters: { auth: 1 },
  });
  t.is(job?.owner, 'corp:ada');
  const log = openSqliteLog(`${at.server.config.data_dir}/events.sqlite`);
  try {
    for await (const { metadata } of log.readStream(`job-${job?.uuid}`)) {
      const { principal, credential, actor } = JSON.parse(metadata);
      t.deepEqual(
        { principal, credential, actor },
        {
          principal: 'corp:ada',
          credential: { kind: 'jwt', id: 'corp/b-2' },
          actor: 'farm:gateway',
        },
      );
      t.false(metadata.includes(token));
    }
  } finally {
    await log.close();
  }
  for await (const { event: entry } of at.as({ token }).history.readHistory({ uuid: job?.uuid ?? '' })) {
    t.like(entry?.metadata, { actor: 'farm:gateway', credential: { kind: 'jwt', id: 'corp/b-2' } });
  }
});

test.serial('groups of one token are not those of another of the same principal', async (t) => {
  const { corp } = at.issuers;
  const [dev, none] = [at.as({ token: await corp.sign({ groups: ['dev'] }) }), at.as({ token: await corp.sign() })];
  const submit = (who: typeof dev) =>
    who.jobs.createJob({
      repository: 'project',
      script: 'run.sh',
      scriptVersion: 'HEAD',
      scriptParameters: { groups: 1 },
    });
  for (let i = 0; i < 2; i++) {
    t.is((await submit(dev)).job?.owner, 'corp:ada');
    t.is(status[(await failure(t, () => submit(none))).code], 'PERMISSION_DENIED');
  }
});

test.serial('streams end when what they were opened with expires or is taken back', async (t) => {
  const { token, id } = await fileToken('watcher');
  const denied = at.authorities.farm.certify('URI:spiffe://farm.example.org/worker/9');
  const soon = await at.issuers.corp.sign({ exp: seconds() + 2 });
  await until('the token is known', () =>
    at
      .as({ token })
      .callers.whoAmI({})
      .catch(() => undefined),
  );
  const serial = (await at.as({ certificate: denied }).callers.whoAmI({})).credentialId.replace('farm/', '');
  const ends = [{ token }, { token: soon }, { certificate: denied }].map((proof) => {
    const stream = at.as(proof).history.subscribeEvents({ start: { case: 'now', value: {} } });
    return (async () => {
      for await (const _ of stream);
    })().catch((error: CallError) => error);
  });
  await revokeTokens(at.files.tokens, (one) => one.id === id, Date.now());
  writeFileSync(at.files.denied, `# stolen\n00:${serial.replace(/../g, '$&:').replace(/:$/, '').toUpperCase()}\n`);
  const reasons = (await Promise.all(ends)).map((error) => (error instanceof CallError ? error.reason : 'none'));
  t.deepEqual(reasons, ['TOKEN_REVOKED', 'TOKEN_EXPIRED', 'CERTIFICATE_REVOKED']);
  t.is((await failure(t, () => at.as({ certificate: denied }).callers.whoAmI({}))).reason, 'CERTIFICATE_REVOKED');
  writeFileSync(at.files.denied, '');
});

/** The reason that a call over a connection of HTTP/2 is refused with; empty if it is not. */
test.serial('whatever stands in authorization is refused, and health alone is told to everybody', async (t) => {
  const session = connectHttp2(`https://${at.server.address()}`, { ca: at.authorities.own.ca() });
  const unauthenticated = String(status.UNAUTHENTICATED);
  const whoAmI = '/memoir.callers.v1.CallersService/WhoAmI';
  try {
    const parts = fc.constantFrom('Bearer ', 'bearer', 'Basic ', 'memoir_', 'e30', '.', ' ', ',', '=', '\t', 'A');
    const text = fc.oneof(
      fc.string({ unit: fc.integer({ min: 0x21, max: 0x7e }).map((c) => String.fromCharCode(c)), maxLength: 60 }),
      fc.array(parts, { maxLength: 8 }).map((some) => some.join('')),
      fc.string({ maxLength: 40 }).map((some) => `Bearer ${b64({ alg: some })}.${b64({ iss: some })}.${b64(some)}`),
    );
    await fc.assert(
      fc.asyncProperty(text, async (authorization) => {
        t.is(await statusOn(session, whoAmI, { authorization }), unauthenticated);
      }),
      { numRuns: 60 },
    );
    // All that the port has, and what it has not, are answered alike.
    const paths = [
      '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
      '/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo',
      '/no.Such/Method',
      ...everyService.flatMap(({ typeName, methods }) => methods.map(({ name }) => `/${typeName}/${name}`)),
    ];
    t.true(paths.length > 60);
    for (const path of paths) t.is(await statusOn(session, path), unauthenticated, path);
    t.is(await statusOn(session, '/grpc.health.v1.Health/Check'), '0');
    const token = await at.issuers.corp.sign();
    t.is(await statusOn(session, whoAmI, { authorization: `bearer ${token}` }), '0');
    // Who one says to be must be who one is.
    t.is(await statusOn(session, whoAmI, { authorization: `Bearer ${token}`, 'memoir-principal': 'corp:ada' }), '0');
    t.is(
      await statusOn(session, whoAmI, { authorization: `Bearer ${token}`, 'memoir-principal': 'root' }),
      unauthenticated,
    );
  } finally {
    session.destroy();
  }
});

test.serial(
  'a connection goes on while the certificate of the server is renewed; bad files change nothing',
  async (t) => {
    const [host = '', port] = at.server.address().split(':');
    const presented = () =>
      new Promise<string>((resolve, reject) => {
        const socket = connectTls(
          { host, port: Number(port), ca: at.authorities.own.ca(), ALPNProtocols: ['h2'] },
          () => {
            resolve(socket.getPeerX509Certificate()?.serialNumber ?? '');
            socket.destroy();
          },
        );
        socket.on('error', reject);
      });
    const { callers } = at.as({ token: await at.issuers.corp.sign() });
    await callers.whoAmI({});
    let going = true;
    let calls = 0;
    const load = (async () => {
      for (; going; calls++) await callers.whoAmI({});
    })();
    // So do new connections, one after the other.
    let connections = 0;
    const token = await at.issuers.corp.sign();
    const arriving = (async () => {
      for (; going && connections < 500; connections++) await at.as({ token }).callers.whoAmI({});
    })();
    const before = await presented();
    writeFileSync(at.files.cert, 'no certificate');
    await until('that is noticed', () => at.server.errors.length > 0);
    t.regex(at.server.errors.splice(0)[0]?.msg ?? '', /files of TLS cannot be used/);
    t.is(await presented(), before);
    const renewed = at.authorities.own.certify('IP:127.0.0.1');
    writeFileSync(at.files.key, renewed.key);
    writeFileSync(at.files.cert, renewed.certificate);
    await until('the new one is presented', async () => (await presented()) !== before);
    going = false;
    await t.notThrowsAsync(Promise.all([load, arriving]));
    t.true(calls > 0 && connections > 0);
  },
);

test.serial('TLS below 1.2, and an unencrypted call, get nothing', async (t) => {
  const [host = '', port] = at.server.address().split(':');
  await t.throwsAsync(
    () =>
      new Promise<void>((resolve, reject) => {
        const ca = at.authorities.own.ca();
        const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const;
        const socket = connectTls({ host, port: Number(port), ca, ...old }, () => {
          socket.destroy();
          resolve();
        });
        socket.on('error', reject);
      }),
  );
  const plain = connect(at.server.address(), 'ada');
  await t.throwsAsync(() => plain.connected(500));
  plain.close();
});

test.serial(
  'an issuer that answers nothing useful costs nobody else anything, and is believed once it is back',
  async (t) => {
    const { endpoint } = at;
    const { away } = at.issuers;
    const token = await away.sign();
    const reason = async () => {
      const answer = await at
        .as({ token })
        .callers.whoAmI({})
        .catch((error: CallError) => error);
      return answer instanceof CallError ? answer.reason : answer.principal;
    };
    const misbehaviours: (typeof endpoint)['answer'][] = [
      (_, response) => void response.writeHead(500).end(),
      (_, response) => void response.writeHead(302, { location: 'http://127.0.0.1:9/' }).end(),
      (_, response) => void response.writeHead(200, { 'content-type': 'text/html' }).end('<html>Sign in</html>'),
      (_, response) => void response.writeHead(200).end('{"keys": "none"}'),
      // Endless: the server leaves off after 1 MiB.
      (_, response) => {
        response.writeHead(200);
        const more = () => {
          while (!response.destroyed && response.write(Buffer.alloc(65_536, 32)));
          if (!response.destroyed) response.once('drain', more);
        };
        more();
      },
    ];
    for (const answer of misbehaviours) {
      endpoint.answer = answer;
      const asked = endpoint.asked;
      await until('it was asked', () => endpoint.asked > asked + 1);
      t.is(await reason(), 'ISSUER_UNAVAILABLE');
      await t.notThrowsAsync(async () => at.as({ token: await at.issuers.corp.sign() }).callers.whoAmI({}));
    }
    const serve =
      (...keys: object[]) =>
      (_: unknown, response: import('node:http').ServerResponse) =>
        void response.writeHead(200).end(JSON.stringify({ keys }));
    endpoint.answer = serve(away.jwk);
    await until('the keys are had', async () => (await reason()) === 'away:ada');
    // Away again, and what is known goes on.
    endpoint.answer = (_, response) => void response.destroy();
    t.is(await reason(), 'away:ada');
    // Another key comes, the one before goes, and with it what it signed, although it was checked.
    const next = await testIssuer('https://away.example.org', 'ES256', 'the next key');
    endpoint.answer = serve(next.jwk);
    await until('the old key is gone', async () => (await reason()) === 'INVALID_TOKEN');
    t.is((await at.as({ token: await next.sign() }).callers.whoAmI({})).principal, 'away:ada');
    // Slow: a call waits no longer than its deadline.
    endpoint.answer = () => {};
    const other = await testIssuer('https://away.example.org', 'ES256', 'an unknown key');
    const unknown = await other.sign();
    const late = await failure(t, () => at.as({ token: unknown }).callers.whoAmI({}, { timeoutMs: 1_000 }));
    t.true(['INVALID_TOKEN', ''].includes(late.reason), late.message);
  },
);

test.serial('each call over one connection is of the token that it shows, good, bad, of one or another', async (t) => {
  const { corp, away } = at.issuers;
  const { token: fromFile } = await fileToken('one-of-many');
  at.endpoint.answer = (_, response) => void response.end(JSON.stringify({ keys: [away.jwk] }));
  const shown: Readonly<Record<string, string>> = {
    'corp:ada': await corp.sign(),
    'corp:eve': await corp.sign({ sub: 'eve' }),
    'away:ada': await away.sign(),
    'token:one-of-many': fromFile,
    INVALID_TOKEN: `${(await corp.sign()).slice(0, -4)}AAAA`,
  };
  let token = '';
  const { callers } = at.as({ token: () => token });
  const told = () =>
    callers
      .whoAmI({})
      .then(({ principal }) => principal)
      .catch((error: CallError) => error.reason);
  for (const [who, text] of Object.entries(shown)) {
    token = text;
    await until(`${who} is told`, async () => (await told()) === who);
  }
  for (const [who, text] of [...Object.entries(shown), ...Object.entries(shown).reverse()]) {
    token = text;
    for (let i = 0; i < 3; i++) t.is(await told(), who);
  }
  // A key that went ends what a connection showed before.
  token = shown['away:ada'] ?? '';
  t.is(await told(), 'away:ada');
  const next = await testIssuer('https://away.example.org', 'ES256', 'yet another key');
  at.endpoint.answer = (_, response) => void response.end(JSON.stringify({ keys: [next.jwk] }));
  await until('the key is gone', async () => (await told()) === 'INVALID_TOKEN');
  token = shown['corp:ada'] ?? '';
  t.is(await told(), 'corp:ada');
});

test.serial('keys of a file are read again when it changes', async (t) => {
  const next = await testIssuer('https://id.example.org', 'ES256', 'a later key');
  writeFileSync(at.files.keys, JSON.stringify({ keys: [at.issuers.corp.jwk, next.jwk] }));
  const token = await next.sign();
  const who = await until('it is read', () =>
    at
      .as({ token })
      .callers.whoAmI({})
      .catch(() => undefined),
  );
  t.is(who.principal, 'corp:ada');
  // While there are two, who names none is known by either, and by no other.
  const unnamed = (issuer: TestIssuer, sub: string) => issuer.sign({ sub }, { kid: undefined as never });
  for (const issuer of [at.issuers.corp, next]) {
    t.is((await at.as({ token: await unnamed(issuer, 'eve') }).callers.whoAmI({})).principal, 'corp:eve');
  }
  const other = await testIssuer('https://id.example.org', 'ES256');
  const forged = await unnamed(other, 'eve');
  t.is((await failure(t, () => at.as({ token: forged }).callers.whoAmI({}))).reason, 'INVALID_TOKEN');
  // The one that goes ends what it signed.
  const stays = at.as({ token: await unnamed(next, 'bob') });
  const ends = at.as({ token: await unnamed(at.issuers.corp, 'bob') });
  for (const one of [stays, ends]) t.is((await one.callers.whoAmI({})).principal, 'corp:bob');
  writeFileSync(at.files.keys, JSON.stringify({ keys: [next.jwk] }));
  await until('it is gone', () =>
    ends.callers.whoAmI({}).then(
      () => undefined,
      ({ reason }: CallError) => reason === 'INVALID_TOKEN',
    ),
  );
  t.is((await stays.callers.whoAmI({})).principal, 'corp:bob');
  writeFileSync(at.files.keys, JSON.stringify({ keys: [at.issuers.corp.jwk, next.jwk] }));
  await until('it is there again', () => ends.callers.whoAmI({}).catch(() => undefined));
});

test.serial('a worker runs jobs by its certificate, over TLS alone', async (t) => {
  const { jobs } = at.as({ token: await at.issuers.corp.sign({ groups: ['dev'] }) });
  const request = { repository: 'project', script: 'run.sh', scriptVersion: 'HEAD', scriptParameters: { worker: 1 } };
  const uuid = (await jobs.createJob(request)).job?.uuid ?? '';
  const runner = at.authorities.farm.certify('URI:spiffe://farm.example.org/runner');
  const file = (name: string, content: Buffer) => {
    writeFileSync(join(at.directory, name), content);
    return join(at.directory, name);
  };
  const proof = ['--tls-cert', file('runner.pem', runner.certificate), '--tls-key', file('runner.key', runner.key)];
  const server = ['--server', `grpcs://${at.server.address()}`, '--tls-ca', file('ca.pem', at.authorities.own.ca())];
  const local = ['--repository', `project=${at.repository.path}`, '--work-dir', at.directory, '--sandbox', 'none'];
  const worker = [memoir, 'worker', '--once', '--jobs', '4', ...server, ...proof, ...local];
  const { PATH } = process.env;
  await promisify(execFile)(process.execPath, worker, { env: { PATH, XDG_CONFIG_HOME: at.directory } });
  const { job } = await jobs.getJob({ uuid });
  t.is(job?.claimedBy, 'farm:runner');
  t.is(job?.state, JobState.COMPLETE, job?.failureMessage);
});

test.serial('the command line makes a token, calls by it, and takes it back', async (t) => {
  const run = (args: readonly string[]) =>
    promisify(execFile)(process.execPath, [memoir, ...args], { env: { XDG_CONFIG_HOME: at.directory } });
  const made = await run(['token', 'make', '--principal', 'ci', '--expires', '1h', '--file', at.files.tokens]);
  const [, id = ''] = /^token ([0-9a-f]{12}) of token:ci, good until/.exec(made.stderr) ?? [];
  const [token, ca] = [join(at.directory, 'ci.token'), join(at.directory, 'ca.pem')];
  writeFileSync(token, made.stdout);
  writeFileSync(ca, at.authorities.own.ca());
  const server = ['--server', `grpcs://${at.server.address()}`, '--tls-ca', ca, '--token-file', token];
  const who = await until('the token is read', () =>
    run(['whoami', ...server, '--repository', 'project']).catch((error: { stderr: string }) => {
      t.regex(error.stderr, /INVALID_TOKEN/);
      return undefined;
    }),
  );
  t.regex(who.stdout, /principal +token:ci\nby +token [0-9a-f]{12}\nuntil +2\d{3}-.*\nmay in project +read, submit\n/);
  // The same from a profile, which is for its owner alone and for its server alone.
  const kept = await run(['login', ...server]);
  t.regex(kept.stdout, /as token:ci; kept in .*\/memoir\/default\.json\n/);
  t.is(statSync(join(at.directory, 'memoir', 'default.json')).mode & 0o777, 0o600);
  t.regex((await run(['whoami', '--json'])).stdout, /"principal":"token:ci"/);
  const other = await t.throwsAsync(run(['whoami', '--server', '127.0.0.1:1', '--profile', 'default']));
  t.regex(String((other as { stderr?: string }).stderr), /OTHER_SERVER/);
  t.is((await run(['logout'])).stdout, 'forgotten: default\n');
  t.is(who.stderr, '');
  t.is((await run(['token', 'revoke', id, '--file', at.files.tokens])).stdout, `taken back: ${id}\n`);
  const { stdout } = await run(['token', 'list', '--file', at.files.tokens]);
  t.regex(stdout, new RegExp(`${id} +token:ci +revoked`));
  t.false(stdout.includes(made.stdout.trim()));
});

test.serial('who calls a server that encrypts without TLS is told how it is called', async (t) => {
  const address = at.server.address();
  const { code, err } = await runMemoir(['list', '--server', address, '--timeout', '5']);
  t.is(code, 6);
  t.true(err.includes(`if it encrypts, give it as grpcs://${address}`), err);
});
