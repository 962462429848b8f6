import http, { type IncomingMessage } from 'node:http';
import https from 'node:https';
import { quote } from '../../domain/errors.js';
import { createPublicLookup } from '../mirror/public-lookup.js';
import { type RemoteRules, refusedUrl } from '../mirror/remote-rules.js';
import { readPktLines } from './pkt-line.js';
import { byteBudget, service, type Transport, type TransportLimits } from './transport.js';

/** What was found out about a remote's HTTP server; may be remembered. */
export type HttpPlace = {
  /** Where requests go, which is elsewhere than the configured URL after a redirect. */
  readonly base: string;
  /** Whether it asks for credentials. */
  readonly authorize: boolean;
};

export type HttpCredentials = { readonly username: string; readonly password: string };

const mostRedirects = 5;

/** Connections that are kept from one request to the next. */
export type HttpAgents = { readonly http: http.Agent; readonly https: https.Agent };

export function createAgents(): HttpAgents {
  return { http: new http.Agent({ keepAlive: true }), https: new https.Agent({ keepAlive: true }) };
}

type Asked = {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
};

/**
 * Smart HTTP (gitprotocol-http(5)), by version 2 where the server has it. It keeps to the rules at every redirect and for every address
 * that a name has when the connection is made, so that a name cannot change its mind in between. Credentials go to the origin of the
 * configured URL alone, once it has asked for them.
 */
export function httpTransport(
  url: URL,
  credentials: HttpCredentials | undefined,
  rules: RemoteRules,
  limits: TransportLimits,
  agents: HttpAgents,
  remembered?: HttpPlace,
): Transport & { place(): HttpPlace } {
  const lookup = createPublicLookup(rules);
  const budget = byteBudget(limits);
  const configured: HttpPlace = { base: url.href.replace(/\/+$/, ''), authorize: false };
  let place = remembered ?? configured;
  let current: IncomingMessage | undefined;

  function send(at: URL, asked: Asked): Promise<IncomingMessage> {
    const { method, headers, body } = asked;
    const refused = refusedUrl(at, { ...rules, allowGit: false });
    if (refused) return Promise.reject(new Error(refused));
    return new Promise((resolve, reject) => {
      const { request } = at.protocol === 'https:' ? https : http;
      const agent = at.protocol === 'https:' ? agents.https : agents.http;
      let answered = false;
      const outgoing = request(at, { method, headers, lookup, agent, timeout: limits.silence }, (response) => {
        answered = true;
        resolve(response);
      });
      outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer for ${limits.silence} ms`)));
      outgoing.on('error', (error) => {
        // The server may have closed a connection that was kept, at the same moment.
        const wasClosed = outgoing.reusedSocket && (error as NodeJS.ErrnoException).code === 'ECONNRESET';
        if (wasClosed && !answered) send(at, asked).then(resolve, reject);
        else reject(error);
      });
      outgoing.end(body);
    });
  }

  /** Credentials, if they are for there. */
  function authorization(at: URL): Record<string, string> {
    if (!place.authorize || !credentials || at.origin !== url.origin) return {};
    const { username, password } = credentials;
    return { authorization: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}` };
  }

  async function ask(asked: Asked): Promise<AsyncIterable<Uint8Array>> {
    let at = new URL(place.base + asked.path);
    for (let redirects = 0; ; ) {
      const response = await send(at, { ...asked, headers: { ...asked.headers, ...authorization(at) } });
      const { statusCode = 0, headers } = response;
      if (statusCode >= 300 && statusCode <= 399 && headers.location !== undefined) {
        response.destroy();
        if (redirects++ === mostRedirects) throw new Error(`it redirects more than ${mostRedirects} times`);
        if (asked.method !== 'GET' && statusCode !== 307 && statusCode !== 308)
          throw new Error(`it answers ${asked.method} with ${statusCode}`);
        const next = URL.canParse(headers.location, at.href) ? new URL(headers.location, at) : undefined;
        if (!next) throw new Error(`it redirects to ${quote(headers.location)}, which is no URL`);
        if (at.protocol === 'https:' && next.protocol !== 'https:')
          throw new Error('it redirects from https to another scheme');
        at = next;
        continue;
      }
      if (statusCode === 401 && credentials && !place.authorize && at.origin === url.origin) {
        response.resume();
        place = { ...place, authorize: true };
        continue;
      }
      const wanted = `application/x-${service}-${asked.method === 'GET' ? 'advertisement' : 'result'}`;
      const type = headers['content-type']?.split(';')[0]?.trim();
      if (statusCode !== 200 || type !== wanted) {
        response.destroy();
        throw new Error(
          statusCode === 200
            ? `it does not speak the git protocol: it answers with ${quote(type ?? 'nothing', 80)}`
            : `it answers with the status ${statusCode}`,
        );
      }
      if (asked.method === 'GET' && redirects > 0) moved(at);
      current = response;
      return counted(response);
    }
  }

  /** After a redirect all further requests go where it led, as git's do. */
  function moved(at: URL): void {
    const end = at.pathname.lastIndexOf('/info/refs');
    if (end < 0) throw new Error(`it redirects to ${quote(at.pathname, 80)}, which is no list of refs`);
    place = { ...place, base: at.origin + at.pathname.slice(0, end) };
  }

  async function* counted(response: IncomingMessage): AsyncGenerator<Uint8Array> {
    for await (const piece of response as AsyncIterable<Buffer>) {
      budget.count(piece.length);
      yield piece;
    }
  }

  return {
    place: () => place,
    async advertisement() {
      const path = `/info/refs?service=${service}`;
      const headers = { accept: '*/*', 'user-agent': agent, 'git-protocol': 'version=2' };
      const lines = readPktLines(await ask({ method: 'GET', path, headers, body: Buffer.alloc(0) }));
      return withoutService(lines);
    },
    async request(body) {
      const headers = {
        'content-type': `application/x-${service}-request`,
        accept: `application/x-${service}-result`,
        'user-agent': agent,
        'git-protocol': 'version=2',
        'content-length': String(body.length),
      };
      return readPktLines(await ask({ method: 'POST', path: `/${service}`, headers, body }));
    },
    async done(lines) {
      // Only a connection whose answer was read to its end is kept for the next request.
      while ((await lines.nextIfAny('its answer')) !== undefined);
    },
    received: budget.received,
    forget() {
      place = configured;
    },
    close() {
      if (current?.complete === false) current.destroy();
    },
  };
}

/** Some servers answer in the git protocol only who calls itself so. */
const agent = 'git/memoir';

type Lines = ReturnType<typeof readPktLines>;

/** The lines after those that name the service, which servers of version 2 may leave out. */
function withoutService(lines: Lines): Lines {
  let begun = false;
  return {
    ...lines,
    async next(within) {
      const line = await lines.next(within);
      if (begun) return line;
      begun = true;
      if (!(line instanceof Buffer) || !line.toString('latin1').startsWith('# service=')) return line;
      const after = await lines.next(within);
      return after === 'flush' ? lines.next(within) : after;
    },
  };
}
