import { spawnSync } from 'node:child_process';
import { connect } from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';
import type { ExecutionContext } from 'ava';
import type { KeyAndCertificate } from './certificates.js';
import { wanting } from './required.js';

/** Whether there is openssl, by which certificates are made; a test that needs it says so and ends if not. */
export function hasOpenssl(t: ExecutionContext): boolean {
  const { error, status } = spawnSync('openssl', ['version']);
  if (!error && status === 0) return true;
  wanting(t, 'openssl', `openssl version fails: ${error?.message ?? status}`);
  return false;
}

/** Takes TLS, HTTP/2 in it, and passes on what is in it to a server, as host:port, that has none. */
export async function tlsBefore(
  behind: string,
  { key, certificate }: KeyAndCertificate,
): Promise<{ readonly port: number; close(): void }> {
  const sockets = new Set<TLSSocket>();
  const server = createServer({ key, cert: certificate, ALPNProtocols: ['h2'] }, (socket) => {
    const [host = '', port = ''] = behind.split(':');
    const to = connect(Number(port), host);
    sockets.add(socket);
    const end = () => {
      socket.destroy();
      to.destroy();
      sockets.delete(socket);
    };
    for (const one of [socket, to]) one.on('error', end).on('close', end);
    socket.pipe(to).pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as { port: number }).port,
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
