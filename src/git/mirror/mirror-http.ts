import http, { type IncomingMessage } from 'node:http';
import https from 'node:https';
import type { GitHttpRequest, GitHttpResponse, HttpClient } from 'isomorphic-git';
import { onePiece } from './one-piece.js';
import { createPublicLookup } from './public-lookup.js';
import { type RemoteRules, refusedUrl } from './remote-rules.js';

/** Bounds of one fetch. */
export type HttpLimits = {
  /** How long a connection may be silent, in milliseconds. */
  readonly silence: number;
  /** Most bytes that are received in all. */
  readonly bytes: number;
};

const mostRedirects = 5;

const listType = 'application/x-git-upload-pack-advertisement';

/**
 * An HTTP client for isomorphic-git that keeps to the rules at every redirect and for every address that a name has when the
 * connection is made, so that a name cannot change its mind in between.
 */
export function createMirrorHttp(rules: RemoteRules, limits: HttpLimits): HttpClient {
  const lookup = createPublicLookup(rules);
  let received = 0;

  function send(url: URL, method: string, headers: Record<string, string>, body: Buffer): Promise<IncomingMessage> {
    const refused = refusedUrl(url, { ...rules, allowGit: false });
    if (refused) return Promise.reject(new Error(refused));
    return new Promise((resolve, reject) => {
      const { request } = url.protocol === 'https:' ? https : http;
      const outgoing = request(url, { method, headers, lookup, timeout: limits.silence }, resolve);
      outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer for ${limits.silence} ms`)));
      outgoing.on('error', reject);
      outgoing.end(body);
    });
  }

  async function* bounded(response: IncomingMessage): AsyncIterableIterator<Uint8Array> {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      received += chunk.length;
      if (received > limits.bytes) {
        response.destroy();
        throw new Error(`it sends more than ${limits.bytes} bytes`);
      }
      yield chunk;
    }
  }

  async function request({ url, method = 'GET', headers = {}, body }: GitHttpRequest): Promise<GitHttpResponse> {
    const chunks: Uint8Array[] = [];
    if (body) for await (const chunk of body) chunks.push(chunk);
    const content = Buffer.concat(chunks);
    let at = new URL(url);
    let sent: Record<string, string> = {
      ...headers,
      ...(method === 'GET' ? {} : { 'content-length': String(content.length) }),
    };
    for (let redirects = 0; ; redirects++) {
      const response = await send(at, method, sent, content);
      const { statusCode = 0, statusMessage = '' } = response;
      const { location } = response.headers;
      if (statusCode < 300 || statusCode > 399 || location === undefined) {
        const received = response.headers as Record<string, string>;
        const isList = received['content-type'] === listType;
        const body = isList ? onePiece(await wholeList(bounded(response))) : bounded(response);
        return { url: at.href, method, statusCode, statusMessage, headers: received, body };
      }
      response.destroy();
      if (redirects === mostRedirects) throw new Error(`it redirects more than ${mostRedirects} times`);
      if (method !== 'GET' && statusCode !== 307 && statusCode !== 308)
        throw new Error(`it answers ${method} with ${statusCode}`);
      const next = new URL(location, at);
      if (at.protocol === 'https:' && next.protocol !== 'https:')
        throw new Error('it redirects from https to another scheme');
      if (next.origin !== at.origin) sent = withoutCredentials(sent);
      at = next;
    }
  }

  return { request };
}

/** A list of refs, which is not looked at before it is whole: isomorphic-git takes one that breaks off for a short one. */
async function wholeList(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  const list = Buffer.concat(chunks);
  if (!list.subarray(-4).equals(Buffer.from('0000'))) throw new Error('it ends within its list of refs');
  return list;
}

function withoutCredentials(headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !/^(authorization|cookie)$/i.test(name)));
}
