import { connect, type Socket } from 'node:net';
import { gitPath } from '../mirror/git-url.js';
import { createPublicLookup } from '../mirror/public-lookup.js';
import { type RemoteRules, refusedUrl } from '../mirror/remote-rules.js';
import { type PktReader, pktLine, readPktLines } from './pkt-line.js';
import { byteBudget, service, type Transport, type TransportLimits } from './transport.js';

/** Where git daemons listen. */
const gitPort = 9_418;

type Connection = { readonly socket: Socket; readonly lines: PktReader };

/**
 * The git protocol (gitprotocol-pack(5), "Git Transport"): one connection for all requests of a fetch. Version 2 is asked for, and a
 * server that does not know it goes on in version 0.
 */
export function gitTransport(url: URL, rules: RemoteRules, limits: TransportLimits): Transport {
  const budget = byteBudget(limits);
  let open: Connection | undefined;

  function dial(): Connection {
    const refused = refusedUrl(url, rules);
    if (refused !== undefined) throw new Error(refused);
    const asked = gitPath(url);
    if ('problem' in asked) throw new Error(asked.problem);
    const socket = connect({
      host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
      port: url.port === '' ? gitPort : Number(url.port),
      lookup: createPublicLookup(rules),
    });
    socket.setTimeout(limits.silence, () => socket.destroy(new Error(`no answer for ${limits.silence} ms`)));
    socket.on('error', () => undefined);
    socket.write(pktLine(`${service} ${asked.path}\0host=${url.host}\0\0version=2\0`));
    return { socket, lines: readPktLines(counted(socket)) };
  }

  async function* counted(socket: Socket): AsyncGenerator<Buffer> {
    for await (const piece of socket as AsyncIterable<Buffer>) {
      budget.count(piece.length);
      yield piece;
    }
  }

  function close(): void {
    open?.socket.destroy();
    open = undefined;
  }

  return {
    async advertisement() {
      open?.socket.destroy();
      open = dial();
      return open.lines;
    },
    async request(body) {
      const fresh = open === undefined;
      open ??= dial();
      const { socket, lines } = open;
      socket.setTimeout(limits.silence);
      socket.write(body);
      if (fresh) {
        // What it says first is known, and was not waited for.
        for (
          let line = await lines.next('its capabilities');
          line !== 'flush';
          line = await lines.next('its capabilities')
        );
      }
      return lines;
    },
    async done() {
      // From here on it is this side that is waited for.
      open?.socket.setTimeout(0);
    },
    received: budget.received,
    forget: close,
    close,
  };
}
