import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

/** A server of real repositories over http, by `git http-backend`. */
export type GitHttpServer = {
  readonly url: string;
  /** Requests so far, as method and path. */
  readonly requests: string[];
  /** Whether protocol version 2 is spoken with who asks for it; it is unless this is changed. */
  versions: boolean;
  /** What to do in place of serving git, while it is set. */
  instead: RequestListener | undefined;
  close(): Promise<void>;
};

/** Serves the repositories under a directory on a free port of this machine. */
export async function serveGit(root: string): Promise<GitHttpServer> {
  const backend = join(execFileSync('git', ['--exec-path'], { encoding: 'utf8' }).trim(), 'git-http-backend');
  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`);
    if (self.instead) self.instead(request, response);
    else runBackend(backend, root, request, response, self.versions);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const self: GitHttpServer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    versions: true,
    instead: undefined,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
  return self;
}

/** Runs the CGI program for a request. */
function runBackend(
  backend: string,
  root: string,
  request: IncomingMessage,
  response: ServerResponse,
  versions: boolean,
): void {
  const url = new URL(request.url ?? '/', 'http://localhost');
  const child = spawn(backend, {
    env: {
      PATH: process.env.PATH,
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_CONFIG_COUNT: '1',
      GIT_CONFIG_KEY_0: 'safe.directory',
      GIT_CONFIG_VALUE_0: '*',
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: '1',
      PATH_INFO: url.pathname,
      QUERY_STRING: url.search.slice(1),
      REQUEST_METHOD: request.method,
      CONTENT_TYPE: request.headers['content-type'] ?? '',
      HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '',
      REMOTE_ADDR: '127.0.0.1',
      ...(versions && { GIT_PROTOCOL: String(request.headers['git-protocol'] ?? '') }),
    },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  request.pipe(child.stdin);
  child.stdin.on('error', () => undefined);
  let head = Buffer.alloc(0);
  let begun = false;
  child.stdout.on('data', (chunk: Buffer) => {
    if (begun) return;
    head = Buffer.concat([head, chunk]);
    const end = head.indexOf('\r\n\r\n');
    if (end < 0) return;
    begun = true;
    for (const header of head.toString('latin1', 0, end).split('\r\n')) {
      const [name = '', value = ''] = header.split(/: (.*)/);
      if (name === 'Status') response.statusCode = Number.parseInt(value, 10);
      else response.setHeader(name, value);
    }
    response.write(head.subarray(end + 4));
    child.stdout.pipe(response);
  });
  child.on('close', () => response.end());
  response.on('close', () => {
    child.stdin.destroy();
    child.stdout.destroy();
    child.kill();
  });
}
