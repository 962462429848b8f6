import { connect, type Socket } from 'node:net';
import type { GitHttpRequest, GitHttpResponse, HttpClient } from 'isomorphic-git';
import { quote } from '../../domain/errors.js';
import { gitPath } from './git-url.js';
import type { HttpLimits } from './mirror-http.js';
import { onePiece } from './one-piece.js';
import { createPublicLookup } from './public-lookup.js';
import { type RemoteRules, refusedUrl } from './remote-rules.js';

/** Where git daemons listen. */
const gitPort = 9_418;

const service = 'git-upload-pack';

/** Most bytes of a list of refs, which is in memory as a whole. */
const longestList = 256 * 1024 * 1024;

/**
 * The git protocol (gitprotocol-pack(5), version 0) in the form of the two requests of isomorphic-git's HTTP client: the first
 * connects and is answered with the list of refs, the second sends what is wanted over the same connection and is answered with
 * the pack. For one fetch from the one URL; whatever URLs the requests have, there is nowhere else to go.
 */
export function createGitProtocol(url: URL, rules: RemoteRules, limits: HttpLimits): HttpClient {
  let received = 0;
  let open: { socket: Socket; chunks: AsyncIterator<Buffer>; rest: Buffer } | undefined;

  function dial(): Socket {
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
    socket.write(line(`${service} ${asked.path}\0host=${url.host}\0`));
    return socket;
  }

  async function* bounded(socket: Socket): AsyncGenerator<Buffer> {
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      received += chunk.length;
      if (received > limits.bytes) throw new Error(`it sends more than ${limits.bytes} bytes`);
      yield chunk;
    }
  }

  async function listRefs(): Promise<Buffer> {
    const socket = dial();
    const chunks = bounded(socket);
    try {
      const lines: Buffer[] = [];
      let waiting: Buffer[] = [];
      let have = 0;
      let listed = 0;
      const take = async (length: number): Promise<Buffer> => {
        while (have < length) {
          const { done, value } = await chunks.next();
          if (done) throw new Error('it ends within its list of refs');
          waiting.push(value);
          have += value.length;
        }
        const all = waiting.length === 1 ? (waiting[0] as Buffer) : Buffer.concat(waiting, have);
        waiting = [all.subarray(length)];
        have -= length;
        return all.subarray(0, length);
      };
      for (;;) {
        const head = (await take(4)).toString('latin1');
        const length = /^[0-9a-f]{4}$/i.test(head) ? Number.parseInt(head, 16) : -1;
        if (length === 0) break;
        if (length < 4) throw new Error(`it does not speak the git protocol: it says ${quote(head)}`);
        const content = await take(length - 4);
        refuseError(content);
        listed += length;
        if (listed > longestList) throw new Error(`its list of refs has more than ${longestList} bytes`);
        if (!isPeeled(content)) lines.push(line(content));
      }
      // From here on it is this side that is waited for.
      socket.setTimeout(0);
      open = { socket, chunks, rest: waiting[0] ?? Buffer.alloc(0) };
      return Buffer.concat([line(`# service=${service}\n`), flush, ...lines, flush]);
    } catch (error) {
      socket.destroy();
      throw error;
    }
  }

  async function* fetchPack(wanted: AsyncIterableIterator<Uint8Array>): AsyncIterableIterator<Uint8Array> {
    const connection = open;
    if (!connection) throw new Error('refs were not listed before a pack was asked for');
    open = undefined;
    const { socket, chunks, rest } = connection;
    try {
      const parts: Uint8Array[] = [];
      for await (const bytes of wanted) parts.push(bytes);
      const request = Buffer.concat(parts);
      socket.setTimeout(limits.silence);
      socket.write(request);
      let end: Buffer = rest;
      if (rest.length > 0) yield rest;
      for (let next = await chunks.next(); !next.done; next = await chunks.next()) {
        if (end.length === 0) refuseError(next.value.subarray(4));
        end = Buffer.concat([end.subarray(-flush.length), next.value.subarray(-flush.length)]);
        yield next.value;
      }
      // In side bands a pack that is whole is followed by a flush; without them by its own checksum alone.
      if (request.includes('side-band-64k') && !end.subarray(-flush.length).equals(flush))
        throw new Error('it ends within the pack');
    } finally {
      socket.destroy();
    }
  }

  async function request({ url: asked, method = 'GET', body }: GitHttpRequest): Promise<GitHttpResponse> {
    const kind = method === 'GET' ? 'advertisement' : 'result';
    return {
      url: asked,
      method,
      statusCode: 200,
      statusMessage: 'OK',
      headers: { 'content-type': `application/x-${service}-${kind}` },
      body: method === 'GET' ? onePiece(await listRefs()) : fetchPack(body ?? onePiece(Buffer.alloc(0))),
    };
  }

  return { request };
}

const flush = Buffer.from('0000');

/** Throws what a server says in place of an answer. */
function refuseError(content: Buffer): void {
  const text = content.toString('utf8', 0, 256);
  if (text.startsWith('ERR ')) throw new Error(`it says ${quote(text.slice(4).trimEnd())}`);
}

/** Whether a line tells what a tag comes to; if that is no ref of its own, a server of this protocol refuses to be asked for it. */
function isPeeled(content: Buffer): boolean {
  return content.toString('utf8').trimEnd().endsWith('^{}') && !content.includes(0);
}

/** A pkt-line (gitprotocol-common(5)). */
function line(content: string | Buffer): Buffer {
  const bytes = Buffer.from(content);
  return Buffer.concat([Buffer.from((bytes.length + 4).toString(16).padStart(4, '0')), bytes]);
}
