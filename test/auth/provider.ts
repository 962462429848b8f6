import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair } from 'jose';
import Provider from 'oidc-provider';

/** What a test has the issuer do that it would not do by itself. */
export type Whims = {
  /** How many of the next polls are told to slow down. */
  slowDown: number;
  /** How many seconds device codes are good for. */
  codeLifetime: number;
  /** Changes what the issuer says of itself. */
  metadata: (said: Record<string, unknown>) => void;
};

/** An identity provider on this machine: npm's oidc-provider, with a client `memoir-cli` that may use the device flow. */
export type TestProvider = {
  readonly issuer: string;
  readonly whims: Whims;
  /** Tokens that it gave so far, by what for: `device_code` or `refresh_token`. */
  readonly grants: string[];
  /** Somebody opens the page with the code, and confirms it as `account`, or denies it. */
  visit(page: string, account: string | 'deny'): Promise<void>;
  close(): Promise<void>;
};

const clientId = 'memoir-cli';
const resource = 'https://memoir.example.org';
const deviceGrant = 'urn:ietf:params:oauth:grant-type:device_code';

/** Starts an issuer. It says each second of a poll that there is nothing yet, where it would leave the client to wait for five. */
export async function startProvider(): Promise<TestProvider> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const { privateKey } = await generateKeyPair('ES256', { extractable: true });
  const whims: Whims = { slowDown: 0, codeLifetime: 600, metadata: () => {} };
  const grants: string[] = [];
  const provider = new Provider(issuer, {
    jwks: { keys: [{ ...(await exportJWK(privateKey)), kid: 'one', alg: 'ES256', use: 'sig' }] },
    cookies: { keys: ['of the tests'] },
    clients: [
      {
        client_id: clientId,
        token_endpoint_auth_method: 'none',
        id_token_signed_response_alg: 'ES256',
        grant_types: [deviceGrant, 'refresh_token'],
        redirect_uris: [],
        response_types: [],
      },
    ],
    features: {
      deviceFlow: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => resource,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope: '',
          audience: 'memoir',
          accessTokenTTL: 3_600,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'ES256' } },
        }),
      },
    },
    ttl: { DeviceCode: () => whims.codeLifetime },
    findAccount: (_context, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    issueRefreshToken: () => true,
    rotateRefreshToken: () => true,
  });
  provider.on('grant.success', ({ oidc }) => void grants.push(String(oidc.params?.grant_type).replace(/^.*:/, '')));
  provider.use(async (context, next) => {
    if (context.path === '/token' && whims.slowDown > 0) {
      whims.slowDown -= 1;
      context.status = 400;
      context.body = { error: 'slow_down' };
      return;
    }
    await next();
    if (context.path === '/device/auth' && context.status === 200)
      Object.assign(context.body as object, { interval: 1 });
    if (context.path.startsWith('/.well-known/')) whims.metadata(context.body as Record<string, unknown>);
  });
  const handle = provider.callback();
  server.on('request', (request, response) => void handle(request, response));
  return {
    issuer,
    whims,
    grants,
    visit,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Goes through the pages of the issuer as a browser does, with its cookies, from form to form. */
async function visit(page: string, account: string | 'deny'): Promise<void> {
  const cookies = new Map<string, string>();
  const open = async (
    url: string,
    fields?: Readonly<Record<string, string>>,
  ): Promise<{ url: string; html: string }> => {
    const response = await fetch(url, {
      redirect: 'manual',
      headers: { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; ') },
      ...(fields && { method: 'POST', body: new URLSearchParams(fields) }),
    });
    for (const cookie of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(cookie) ?? [];
      cookies.set(name, value);
    }
    const to = response.headers.get('location');
    return to === null ? { url, html: await response.text() } : open(new URL(to, url).href);
  };
  let at = await open(page);
  for (;;) {
    const [, attributes = '', inside = ''] = /<form([^>]*)>([\s\S]*?)<\/form>/.exec(at.html) ?? [];
    const [, action] = /action="([^"]*)"/.exec(attributes) ?? [];
    if (action === undefined) return;
    const hidden = [...inside.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)"/g)];
    const fields = Object.fromEntries(hidden.map(([, name = '', value = '']) => [name, value]));
    if (fields.prompt === 'login') Object.assign(fields, { login: account, password: 'any' });
    const denies = fields.confirm !== undefined && account === 'deny';
    at = await open(new URL(action, at.url).href, { ...fields, ...(denies && { abort: 'yes' }) });
    if (denies) return;
  }
}
