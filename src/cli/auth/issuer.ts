import {
  allowInsecureRequests,
  type Configuration,
  discovery,
  initiateDeviceAuthorization,
  None,
  pollDeviceAuthorizationGrant,
  ResponseBodyError,
  refreshTokenGrant,
  type TokenEndpointResponse,
  type TokenEndpointResponseHelpers,
  tokenRevocation,
} from 'openid-client';
import { invalid, MemoirError, messageOf, quote } from '../../domain/errors.js';
import { checkedToken } from '../credentials.js';
import type { Login } from './profile.js';

// The only file that loads openid-client, and itself loaded only where an issuer is asked: it takes longer to load than most commands take.

/** What an issuer asks whoever logs in to do. */
export type DeviceCode = {
  /** Page to open, and the code that it asks for or shows. */
  readonly page: string;
  readonly code: string;
  /** The same page with the code filled in, where the issuer has one. */
  readonly pageWithCode: string | undefined;
  /** For how many seconds the code is good. */
  readonly lifetime: number;
};

/** A token, and by what the next one is had. */
export type Granted = { readonly token: string; readonly login: Login };

/** Which token is asked for of whom. */
export type Asked = Pick<Login, 'issuer' | 'client_id' | 'scope' | 'parameters'>;

/** Hosts whose addresses are of this machine. */
const local = /^(localhost|127(\.[0-9]{1,3}){3}|\[::1\])$/;

/**
 * Logs somebody in by the device flow (RFC 8628): the issuer is told from another window, or another machine, that this is so.
 * @param now milliseconds since 1970
 * @throws MemoirError INVALID_ARGUMENT for an issuer that has no such flow or does not know the client, PERMISSION_DENIED if it was denied,
 * UNAUTHENTICATED if nobody confirmed it in time, UNAVAILABLE if the issuer cannot be asked
 */
export async function logInByDevice(
  asked: Asked,
  tell: (code: DeviceCode) => void,
  now: () => number,
): Promise<Granted> {
  const config = await issuerOf(asked);
  if (config.serverMetadata().device_authorization_endpoint === undefined) {
    throw invalid(
      'issuer',
      'NO_DEVICE_FLOW',
      `the issuer ${quote(asked.issuer)} has no device flow (device_authorization_endpoint)`,
    );
  }
  return told(asked, async () => {
    const device = await initiateDeviceAuthorization(config, { ...asked.parameters, scope: asked.scope });
    tell({
      page: device.verification_uri,
      code: device.user_code,
      pageWithCode: device.verification_uri_complete,
      lifetime: device.expires_in,
    });
    const signal = AbortSignal.timeout(device.expires_in * 1_000);
    try {
      return granted(
        asked,
        await pollDeviceAuthorizationGrant(config, device, { ...asked.parameters }, { signal }),
        now(),
      );
    } catch (error) {
      throw signal.aborted ? late(asked.issuer) : error;
    }
  });
}

/**
 * The next token of a login.
 * @throws MemoirError UNAUTHENTICATED if the login has ended, UNAVAILABLE if the issuer cannot be asked
 */
export async function renewLogin(login: Login, now: () => number): Promise<Granted> {
  const { refresh_token } = login;
  if (refresh_token === undefined) throw ended(login);
  const config = await issuerOf(login);
  return told(login, async () => {
    const answer = await refreshTokenGrant(config, refresh_token, { ...login.parameters });
    const next = granted(login, answer, now());
    // An issuer that gives no other lets the one before go on.
    return { ...next, login: { refresh_token, ...next.login } };
  });
}

/**
 * Ends a login at its issuer.
 * @returns whether the issuer has a way to be told so
 * @throws MemoirError UNAVAILABLE if the issuer cannot be asked
 */
export async function endLogin(login: Login): Promise<boolean> {
  if (login.refresh_token === undefined) return false;
  const config = await issuerOf(login);
  if (config.serverMetadata().revocation_endpoint === undefined) return false;
  const token = login.refresh_token;
  await told(login, () => tokenRevocation(config, token, { token_type_hint: 'refresh_token' }));
  return true;
}

/** What an issuer says of itself. Nothing is sent to it, or to where it sends one, that others on the way could read. */
async function issuerOf(asked: Asked): Promise<Configuration> {
  const url = URL.canParse(asked.issuer) ? new URL(asked.issuer) : undefined;
  if (!url || !isPrivate(url)) {
    throw invalid('issuer', 'BAD_ISSUER', `--issuer ${quote(asked.issuer)}: give a URL that begins with https://`);
  }
  const execute = url.protocol === 'http:' ? [allowInsecureRequests] : [];
  const config = await told(asked, () => discovery(url, asked.client_id, undefined, None(), { execute }));
  const { device_authorization_endpoint, token_endpoint, revocation_endpoint } = config.serverMetadata();
  for (const endpoint of [device_authorization_endpoint, token_endpoint, revocation_endpoint]) {
    if (endpoint === undefined || (URL.canParse(endpoint) && isPrivate(new URL(endpoint)))) continue;
    throw invalid(
      'issuer',
      'BAD_ISSUER',
      `the issuer ${quote(asked.issuer)} would be called without TLS, at ${quote(endpoint)}`,
    );
  }
  return config;
}

const isPrivate = ({ protocol, hostname }: URL): boolean =>
  protocol === 'https:' || (protocol === 'http:' && local.test(hostname));

function granted(
  { issuer, client_id, scope, parameters }: Asked,
  answer: TokenEndpointResponse & TokenEndpointResponseHelpers,
  now: number,
): Granted {
  const lifetime = answer.expiresIn();
  return {
    token: checkedToken(answer.access_token, `the answer of ${quote(issuer)}`),
    login: {
      issuer,
      client_id,
      scope,
      parameters,
      ...(answer.refresh_token !== undefined && { refresh_token: answer.refresh_token }),
      ...(lifetime !== undefined && {
        expires_at: new Date(now + lifetime * 1_000).toISOString(),
        renew_at: new Date(now + Math.max(lifetime / 2, lifetime - 60) * 1_000).toISOString(),
      }),
    },
  };
}

const ended = ({ issuer }: Asked, cause?: unknown): MemoirError =>
  new MemoirError(
    'UNAUTHENTICATED',
    'LOGIN_ENDED',
    `the login at ${quote(issuer)} has ended: log in again by memoir login`,
    { cause },
  );

async function told<T>(asked: Asked, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw refusalOf(asked, error);
  }
}

/** What is said of an issuer that refuses, or cannot be asked; never what was sent to it. */
function refusalOf(asked: Asked, error: unknown): unknown {
  if (error instanceof MemoirError) return error;
  const { issuer, client_id } = asked;
  if (error instanceof ResponseBodyError) {
    switch (error.error) {
      case 'access_denied':
        return new MemoirError('PERMISSION_DENIED', 'LOGIN_DENIED', `the login at ${quote(issuer)} was denied there`);
      case 'expired_token':
        return late(issuer);
      case 'invalid_grant':
        return ended(asked, error);
      default: {
        const why = error.error_description === undefined ? '' : `: ${quote(error.error_description)}`;
        return invalid(
          'issuer',
          'LOGIN_REFUSED',
          `the issuer ${quote(issuer)} refuses the client ${quote(client_id)} with ${quote(error.error)}${why}`,
        );
      }
    }
  }
  const cause = error instanceof Error && error.cause instanceof Error ? `: ${messageOf(error.cause)}` : '';
  const message = `the issuer ${quote(issuer)} cannot be asked: ${messageOf(error)}${cause}`;
  return new MemoirError('UNAVAILABLE', 'ISSUER_UNAVAILABLE', message, { cause: error });
}

const late = (issuer: string): MemoirError =>
  new MemoirError('UNAUTHENTICATED', 'LOGIN_TOO_LATE', `nobody confirmed the login at ${quote(issuer)} in time`);
