import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { CallersService } from '../../gen/memoir/callers/v1/callers_service_pb.js';
import { HistoryService } from '../../gen/memoir/history/v1/history_service_pb.js';
import { JobsService } from '../../gen/memoir/jobs/v1/jobs_service_pb.js';
import type { ServerConfig } from '../../src/config.js';
import { connect, type Security } from '../../src/rpc/client.js';
import { makeAuthority } from '../support/certificates.js';
import { makeProject } from '../support/project.js';
import { startTestServer } from '../support/server.js';

/** Keys of an issuer of the tests, and tokens that it signs. */
export type TestIssuer = Awaited<ReturnType<typeof testIssuer>>;

/** What an issuer's endpoint of keys does. */
export type KeysEndpoint = { answer: RequestListener; asked: number; readonly url: string; close(): void };

const inAnHour = () => Math.floor(Date.now() / 1_000) + 3_600;

/** Signs tokens with a key of its own. */
export async function testIssuer(issuer: string, alg = 'ES256', kid = `key of ${issuer}`) {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = { ...(await exportJWK(publicKey)), kid, alg };
  return {
    jwk,
    privateKey,
    /** A token of usual claims, with others in their place; those that are undefined are left out. */
    async sign(
      claims: Readonly<Record<string, unknown>> = {},
      header: { readonly typ?: string; readonly kid?: string } = {},
    ) {
      const all = { iss: issuer, sub: 'ada', aud: 'memoir', exp: inAnHour(), ...claims };
      const payload = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
      return new SignJWT(payload).setProtectedHeader({ alg, kid, typ: 'JWT', ...header }).sign(privateKey);
    },
  };
}

/** Serves keys over HTTP at this machine. */
export async function keysEndpoint(): Promise<KeysEndpoint> {
  const server = createServer((request, response) => {
    endpoint.asked += 1;
    endpoint.answer(request, response);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const endpoint: KeysEndpoint = {
    answer: (_request, response) => void response.writeHead(404).end(),
    asked: 0,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
  return endpoint;
}

/** A server that knows callers by all that there is, with what is needed to call it. */
export async function scene() {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-auth-'));
  const file = (name: string, content: string | Buffer) => {
    const path = join(directory, name);
    writeFileSync(path, content);
    return path;
  };
  const own = makeAuthority();
  const [farm, hosts, people, unknown] = [makeAuthority(), makeAuthority(), makeAuthority(), makeAuthority()];
  const certificate = own.certify('IP:127.0.0.1');
  const cert = file('server.pem', certificate.certificate);
  const key = file('server-key.pem', certificate.key);
  const tokens = file('tokens.json', '{"tokens": []}\n');
  const denied = file('denied', '# none yet\n');
  const corp = await testIssuer('https://id.example.org');
  const away = await testIssuer('https://away.example.org');
  const endpoint = await keysEndpoint();
  const policy = file(
    'policy.toml',
    `[groups]
dev = []
ops = []
[[grants]]
to = ["*"]
roles = ["reader"]
repositories = ["project"]
[[grants]]
to = ["group:dev", "token:ci"]
roles = ["submitter"]
repositories = ["project"]
[[grants]]
to = ["group:ops"]
roles = ["admin"]
repositories = ["**"]
[[grants]]
to = ["farm:runner"]
roles = ["worker"]
repositories = ["**"]
[[grants]]
to = ["farm:gateway"]
roles = ["delegate"]
repositories = ["**"]
`,
  );
  const { repository } = makeProject();
  const settings = {
    policy,
    tls: {
      cert,
      key,
      client_ca: {
        farm: { file: farm.caFile, san: 'uri', trust_domain: 'farm.example.org', denied },
        hosts: { file: hosts.caFile, san: 'dns' },
        people: { file: people.caFile, san: 'cn', principal: 'person/{}' },
      },
    },
    auth: {
      tokens,
      issuers: {
        corp: {
          issuer: 'https://id.example.org',
          jwks: file('keys.json', JSON.stringify({ keys: [corp.jwk] })),
          audience: ['memoir'],
          algorithms: ['ES256'],
          clock_tolerance: 0,
          groups: ['dev'],
        },
        away: {
          issuer: 'https://away.example.org',
          jwks: endpoint.url,
          audience: ['memoir'],
          algorithms: ['ES256'],
          refresh_keys: 0.2,
        },
      },
    },
  } as unknown as Partial<ServerConfig>;
  const server = await startTestServer({ repositories: { project: repository.path }, settings });
  const connections: { close(): void }[] = [];

  /** The services as whoever proves this calls them, over a connection of its own. */
  function as(
    proof: {
      readonly token?: string | (() => string);
      readonly certificate?: { key: Buffer; certificate: Buffer };
    } = {},
  ) {
    const { token, certificate: client } = proof;
    const security: Security = {
      tls: { ca: own.ca(), ...(client && { cert: client.certificate, key: client.key }) },
      ...(token !== undefined && { token: typeof token === 'string' ? () => token : token }),
    };
    const connection = connect(server.address(), undefined, security);
    connections.push(connection);
    return {
      callers: connection.service(CallersService),
      jobs: connection.service(JobsService),
      history: connection.service(HistoryService),
    };
  }

  return {
    server,
    as,
    directory,
    repository,
    authorities: { own, farm, hosts, people, unknown },
    files: { cert, key, tokens, denied, policy, keys: join(directory, 'keys.json') },
    issuers: { corp, away },
    endpoint,
    async dispose() {
      for (const connection of connections) connection.close();
      await server.dispose();
      endpoint.close();
      for (const one of [own, farm, hosts, people, unknown]) one.dispose();
      rmSync(directory, { recursive: true });
    },
  };
}
