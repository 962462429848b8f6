import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A way to a server that cuts every connection each time so many bytes went through to it. */
export type CuttingProxy = {
  readonly address: string;
  /** Bytes that went to the server in all. */
  sent(): number;
  /** Bytes that came from it. */
  received(): number;
  /** How often connections were cut. */
  cuts(): number;
  close(): Promise<void>;
};

/** Starts one in front of a server. It cuts `times` times. */
export async function cuttingProxy(server: string, bytes: number, times: number): Promise<CuttingProxy> {
  const [host = '', port = ''] = server.split(':');
  const open = new Set<Socket>();
  let sent = 0;
  let received = 0;
  let cuts = 0;
  const proxy = createServer((socket) => {
    const upstream = connect(Number(port), host);
    for (const one of [socket, upstream]) {
      open.add(one);
      one.on('error', () => undefined);
      one.on('close', () => {
        open.delete(one);
        socket.destroy();
        upstream.destroy();
      });
    }
    upstream.on('data', (piece) => {
      received += piece.length;
    });
    upstream.pipe(socket);
    socket.on('data', (piece) => {
      sent += piece.length;
      if (cuts < times && sent > (cuts + 1) * bytes) {
        cuts++;
        for (const other of open) other.destroy();
      } else if (!upstream.write(piece)) {
        socket.pause();
        upstream.once('drain', () => socket.resume());
      }
    });
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  return {
    address: `127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    sent: () => sent,
    received: () => received,
    cuts: () => cuts,
    async close() {
      for (const one of open) one.destroy();
      proxy.close();
      await once(proxy, 'close');
    },
  };
}
