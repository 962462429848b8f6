import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHash, randomUUID, sign } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { type AddressInfo, createServer as createSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { until } from './until.js';

/** Name and password that a registry with a password accepts. */
export const account = { username: 'memoir', password: 's3cret-word' };

// bcrypt of the password, in the form of htpasswd.
const htpasswd = `${account.username}:$2y$05$abcdefghijklmnopqrstuuEpHRRKIlpAGo.iP7Bpa.htQEJMAAnRe\n`;

/** Whether Debian's `docker-registry` (or upstream's program under that name) is installed. */
export const hasDockerRegistry = (process.env.PATH ?? '')
  .split(delimiter)
  .some((directory) => existsSync(join(directory, 'docker-registry')));

/** A real docker-registry on a free port of this machine, with data of its own. */
export type DockerRegistry = {
  /** As http://127.0.0.1:port. */
  readonly url: string;
  /** Host and port. */
  readonly host: string;
  /** Pushes an image without layers under a tag and gives its manifest's digest. Different texts make different images. */
  push(name: string, tag: string, text: string): Promise<string>;
  /** Changes a byte of white space in a manifest that it has, whose digest is another then. */
  damage(digest: string): void;
  /** Kills it; its port is then closed. */
  stop(): Promise<void>;
  /** Starts it again on the same data and port. */
  start(): Promise<void>;
  dispose(): Promise<void>;
};

/** How a registry knows who asks. */
export type RegistryAuth = 'nobody' | 'password' | 'token';

/** Starts a registry. With `token` there is a token server beside it, which wants the `account`. */
export async function startDockerRegistry(auth: RegistryAuth = 'nobody'): Promise<DockerRegistry> {
  const directory = mkdtempSync(join(tmpdir(), 'memoir-registry-'));
  const port = await freePort();
  const host = `127.0.0.1:${port}`;
  const url = `http://${host}`;
  const tokens = auth === 'token' ? await startTokenServer(directory) : undefined;
  const config = join(directory, 'config.json');
  writeFileSync(join(directory, 'htpasswd'), htpasswd);
  // YAML holds JSON.
  writeFileSync(
    config,
    JSON.stringify({
      version: 0.1,
      log: { level: 'error' },
      storage: { filesystem: { rootdirectory: join(directory, 'data') } },
      http: { addr: host },
      ...(auth === 'password' && { auth: { htpasswd: { realm: 'test', path: join(directory, 'htpasswd') } } }),
      ...(tokens && { auth: { token: tokens.settings } }),
    }),
  );
  let child: ChildProcess | undefined;

  async function start(): Promise<void> {
    child = spawn('docker-registry', ['serve', config], { stdio: 'ignore' });
    await until(`docker-registry at ${url} answers`, async () => {
      const answer = await fetch(`${url}/v2/`).catch(() => undefined);
      await answer?.body?.cancel();
      return answer !== undefined;
    });
  }
  async function stop(): Promise<void> {
    const running = child;
    if (!running) return;
    child = undefined;
    const ended = new Promise((resolve) => running.once('exit', resolve));
    running.kill('SIGKILL');
    await ended;
  }
  function headers(name: string): Record<string, string> {
    if (auth === 'password') return { authorization: basic };
    return tokens ? { authorization: `Bearer ${tokens.make(name, ['pull', 'push'])}` } : {};
  }

  await start();
  return {
    url,
    host,
    stop,
    start,
    async push(name, tag, text) {
      const config = Buffer.from(JSON.stringify({ architecture: 'amd64', os: 'linux', text }));
      const begun = await fetch(`${url}/v2/${name}/blobs/uploads/`, { method: 'POST', headers: headers(name) });
      const upload = new URL(begun.headers.get('location') ?? '', url);
      upload.searchParams.set('digest', digestOf(config));
      await expectStatus(201, await fetch(upload, { method: 'PUT', body: config, headers: headers(name) }));
      const mediaType = 'application/vnd.docker.distribution.manifest.v2+json';
      const manifest = Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          mediaType,
          config: {
            mediaType: 'application/vnd.docker.container.image.v1+json',
            size: config.length,
            digest: digestOf(config),
          },
          layers: [],
        }),
      );
      const put = { method: 'PUT', body: manifest, headers: { ...headers(name), 'content-type': mediaType } };
      await expectStatus(201, await fetch(`${url}/v2/${name}/manifests/${tag}`, put));
      return digestOf(manifest);
    },
    damage(digest) {
      const hash = digest.slice('sha256:'.length);
      const file = join(directory, 'data/docker/registry/v2/blobs/sha256', hash.slice(0, 2), hash, 'data');
      writeFileSync(file, `${readFileSync(file, 'utf8')}\n`);
    },
    async dispose() {
      await stop();
      await tokens?.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** The SHA-256 digest of a text as registries spell it. */
export function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

const basic = `Basic ${Buffer.from(`${account.username}:${account.password}`).toString('base64')}`;

type TokenServer = {
  readonly settings: Record<string, string>;
  make(name: string, actions: readonly string[]): string;
  stop(): Promise<void>;
};

/** A server as https://distribution.github.io/distribution/spec/auth/token/ describes it, which the registry trusts by a certificate. */
async function startTokenServer(directory: string): Promise<TokenServer> {
  const [key, certificate] = [join(directory, 'key.pem'), join(directory, 'certificate.pem')];
  const subject = ['-subj', '/CN=test', '-days', '2', '-keyout', key, '-out', certificate];
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', ...subject], { stdio: 'ignore' });
  const x5c = [readFileSync(certificate, 'utf8').replace(/-----[^-]+-----|\s/g, '')];
  const service = 'registry.test';
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

  function make(name: string, actions: readonly string[]): string {
    const now = Math.floor(Date.now() / 1_000);
    const claims = { iss: 'test', sub: account.username, aud: service, exp: now + 60, nbf: now - 60, iat: now };
    const access = [{ type: 'repository', name, actions }];
    const signed = `${part({ typ: 'JWT', alg: 'RS256', x5c })}.${part({ ...claims, jti: randomUUID(), access })}`;
    return `${signed}.${sign('sha256', Buffer.from(signed), readFileSync(key)).toString('base64url')}`;
  }
  function answer(request: IncomingMessage): [status: number, body: unknown] {
    const { searchParams } = new URL(request.url ?? '', 'http://x');
    const [, name = '', actions = ''] = (searchParams.get('scope') ?? '').split(':');
    if (request.headers.authorization !== basic || searchParams.get('service') !== service) return [401, {}];
    return [200, { token: make(name, actions.split(',')), expires_in: 60 }];
  }
  const server = createServer((request, response) => {
    const [status, body] = answer(request);
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  });
  const port = await listening(server);
  return {
    settings: { realm: `http://127.0.0.1:${port}/token`, service, issuer: 'test', rootcertbundle: certificate },
    make,
    stop: () => closed(server),
  };
}

/** Listens on a free port of this machine and gives it. */
export async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

/** Closes a server and every connection to it. */
export async function closed(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}

async function freePort(): Promise<number> {
  const socket = createSocket();
  await new Promise<void>((resolve) => socket.listen(0, '127.0.0.1', resolve));
  const { port } = socket.address() as AddressInfo;
  await new Promise((resolve) => socket.close(resolve));
  return port;
}

async function expectStatus(status: number, response: Response): Promise<void> {
  if (response.status !== status) throw new Error(`${response.url}: ${response.status} ${await response.text()}`);
  await response.body?.cancel();
}
