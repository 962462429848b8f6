import { quote } from '../../domain/errors.js';
import { RegistryProblem } from './port.js';

/** Most redirects that are followed for one request. */
const maxRedirects = 3;

/** Where a registry may send to, and for how long. */
export type Bounds = {
  /** The registry itself. */
  readonly origin: URL;
  /** Further hosts that requests may go to. */
  readonly hosts: readonly string[];
  /** Ends everything. */
  readonly signal: AbortSignal;
};

/** A request, and the Authorization that only the first host of it gets. */
export type Request = {
  readonly method: 'GET' | 'HEAD';
  readonly url: URL;
  readonly headers?: Readonly<Record<string, string>>;
  readonly authorization?: string | undefined;
};

/** An answer, with its whole body. */
export type Answer = { readonly status: number; readonly headers: Headers; readonly body: Buffer };

/**
 * Sends a request and follows redirects, each only to a host that is configured.
 * @param limit most bytes of the body
 * @throws RegistryProblem if there is no answer, it is too large, or it leads elsewhere
 */
export async function send(request: Request, bounds: Bounds, limit: number): Promise<Answer> {
  let { url, authorization } = request;
  for (let i = 0; i <= maxRedirects; i++) {
    checkUrl(url, bounds);
    const response = await fetchOnce({ ...request, url, authorization }, bounds);
    const location = response.headers.get('location');
    if (![301, 302, 303, 307, 308].includes(response.status) || location === null) {
      return { status: response.status, headers: response.headers, body: await bodyOf(response, limit, bounds) };
    }
    await response.body?.cancel();
    if (!URL.canParse(location, url.href))
      throw new RegistryProblem(`it redirects to ${quote(location)}, which is no URL`);
    const next = new URL(location, url);
    if (next.origin !== url.origin) authorization = undefined;
    url = next;
  }
  throw new RegistryProblem(`it redirects more than ${maxRedirects} times`);
}

/** @throws RegistryProblem if no request may go to the URL */
export function checkUrl(url: URL, { origin, hosts }: Pick<Bounds, 'origin' | 'hosts'>): void {
  if (url.origin === origin.origin) return;
  if (!hosts.includes(url.host))
    throw new RegistryProblem(`it sends to ${quote(url.host)}, which is not among its hosts`);
  const secure = url.protocol === 'https:' || (url.protocol === 'http:' && origin.protocol === 'http:');
  if (!secure) throw new RegistryProblem(`it sends to ${quote(url.origin)}, which is not https`);
}

async function fetchOnce({ method, url, headers, authorization }: Request, { signal }: Bounds): Promise<Response> {
  if (url.username !== '' || url.password !== '') throw new RegistryProblem('it sends to a URL with a user');
  try {
    return await fetch(url.href, {
      method,
      signal,
      redirect: 'manual',
      headers: { ...headers, 'accept-encoding': 'identity', ...(authorization !== undefined && { authorization }) },
    });
  } catch (error) {
    throw unreachable(error, url, signal);
  }
}

/** Reads the body as it comes, so that one without end costs no more than the limit. */
async function bodyOf(response: Response, limit: number, { signal }: Bounds): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const chunk of response.body ?? []) {
      bytes += (chunk as Uint8Array).length;
      if (bytes > limit) break;
      chunks.push(chunk as Uint8Array);
    }
  } catch (error) {
    throw unreachable(error, new URL(response.url), signal);
  }
  if (bytes > limit) throw new RegistryProblem(`its answer has more than ${limit} bytes`);
  return Buffer.concat(chunks);
}

function unreachable(error: unknown, url: URL, signal: AbortSignal): RegistryProblem {
  if (signal.aborted) return new RegistryProblem('it did not answer in time', error);
  const cause = (error as { cause?: { code?: string; message?: string } }).cause;
  const why = cause?.code ?? cause?.message ?? (error as Error).message;
  return new RegistryProblem(`${url.host} cannot be reached: ${why}`, error);
}
