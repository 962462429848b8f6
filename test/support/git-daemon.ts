import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { gitEnvironment } from './git-repository.js';

/** A server of real repositories over the git protocol, by `git daemon`. */
export type GitDaemon = {
  /** `git://` and the address; the path of a repository follows. */
  readonly url: string;
  /** Connections so far. */
  connections(): number;
  /** What to do with a connection in place of serving git, while it is set. */
  instead: ((socket: Socket) => void) | undefined;
  close(): Promise<void>;
};

/** Serves the repositories under a directory on a free port of this machine. */
export async function serveDaemon(root: string): Promise<GitDaemon> {
  const open = new Set<Socket>();
  let connections = 0;
  const server = createServer((socket) => {
    connections++;
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    socket.on('error', () => undefined);
    if (self.instead) self.instead(socket);
    else runDaemon(root, socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const self: GitDaemon = {
    url: `git://127.0.0.1:${(server.address() as AddressInfo).port}`,
    connections: () => connections,
    instead: undefined,
    async close() {
      for (const socket of open) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
  return self;
}

/** One daemon a connection, as inetd would start it: so there is no port to be guessed. */
function runDaemon(root: string, socket: Socket): void {
  const args = ['daemon', '--inetd', '--export-all', '--informative-errors'];
  const child = spawn('git', [...args, `--base-path=${root}`, root], {
    env: { ...gitEnvironment(), GIT_CONFIG_COUNT: '1', GIT_CONFIG_KEY_0: 'safe.directory', GIT_CONFIG_VALUE_0: '*' },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  socket.pipe(child.stdin);
  child.stdin.on('error', () => undefined);
  child.stdout.pipe(socket);
  socket.on('close', () => {
    // What the daemon runs ends of a pipe that nobody reads.
    child.stdin.destroy();
    child.stdout.destroy();
    child.kill();
  });
}
