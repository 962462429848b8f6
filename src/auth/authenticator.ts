import { hash } from 'node:crypto';
import type { Http2Session, IncomingHttpHeaders } from 'node:http2';
import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import type { AuthConfig, TlsConfig } from '../config/auth.js';
import { type Credential, endOf, unauthenticated } from '../domain/callers/credential.js';
import { canMeet, parseTemplate } from '../domain/callers/principal.js';
import { quote } from '../domain/errors.js';
import type { Edge } from '../edge.js';
import type { Certificates } from './certificates.js';
import type { Issuers } from './issuers.js';
import { tokenPrefix } from './token-file.js';
import { invalidToken, openTokens } from './tokens.js';

/** Most signed tokens whose check is remembered. */
const remembered = 10_000;

/** What an issuer signed and was checked, as the headers of a call had it. */
type Shown = { readonly authorization: string; readonly credential: Credential };

/** Tells who calls by what proves it. */
export type Authenticator = {
  /**
   * Who makes a call: at once for whom was told before, since most are.
   * @throws MemoirError UNAUTHENTICATED if nothing proves it or what is given does not; UNAVAILABLE if that cannot be told at the moment
   */
  credentialOf(session: Http2Session | undefined, headers: IncomingHttpHeaders): Credential | Promise<Credential>;
  close(): void;
};

/** Where principals come from, by the settings: with what they are called in messages, and how principals are made. */
function sourcesOf(
  auth: AuthConfig,
  tls: TlsConfig | undefined,
): readonly (readonly [source: string, template: string])[] {
  const authorities = Object.entries(tls?.client_ca ?? {});
  return [
    ...(auth.tokens === undefined ? [] : [['auth.tokens', auth.token_principal] as const]),
    ...Object.entries(auth.issuers).map(
      ([name, { principal = `${name}:{}` }]) => [`auth.issuers.${name}`, principal] as const,
    ),
    ...authorities.map(([name, { principal = `${name}:{}` }]) => [`tls.client_ca.${name}`, principal] as const),
  ];
}

/** What reads signed tokens, which takes a good part of the time in which a server starts and is loaded where it is wanted. */
async function issuersOf({ issuers }: AuthConfig, edge: Edge, logger: Logger): Promise<Issuers | undefined> {
  if (Object.keys(issuers).length === 0) return undefined;
  const { openIssuers } = await import('./issuers.js');
  return openIssuers(issuers, edge, logger);
}

/** What reads certificates, as well. */
async function certificatesOf(tls: TlsConfig | undefined, logger: Logger): Promise<Certificates | undefined> {
  if (!tls || Object.keys(tls.client_ca).length === 0) return undefined;
  const { openCertificates } = await import('./certificates.js');
  return openCertificates(tls.client_ca, logger);
}

/**
 * What tells callers by the settings; undefined if they have nothing that does.
 * @throws Error naming what cannot be used: files, or two sources that can give the same principal
 */
export async function openAuthenticator(
  auth: AuthConfig,
  tls: TlsConfig | undefined,
  edge: Edge,
  logger: Logger,
): Promise<Authenticator | undefined> {
  const sources = sourcesOf(auth, tls);
  if (sources.length === 0) return undefined;
  checkApart(sources);
  const tokens = auth.tokens === undefined ? undefined : openTokens(auth.tokens, auth.token_principal, logger);
  const issuers = await issuersOf(auth, edge, logger);
  const certificates = await certificatesOf(tls, logger);
  /** What signed tokens prove, by their SHA-256. */
  const verified = new LRUCache<string, Credential>({ maxSize: remembered, sizeCalculation: () => 1 });
  /** What each connection showed last of what an issuer signed, as it came: most show nothing else, and the same text needs no hash. */
  const shown = new WeakMap<Http2Session, Shown>();
  /** What a service's certificate and a user's token prove together. */
  const together = new WeakMap<Credential, WeakMap<Credential, Credential>>();

  /** Whose key changed is checked anew; what has expired is no better for it. */
  const isSettled = (credential: Credential) => credential.stands() || edge.now() >= credential.expiresAt;

  function bearer(session: Http2Session | undefined, authorization: string): Credential | Promise<Credential> {
    const last = session && shown.get(session);
    if (last?.authorization === authorization && isSettled(last.credential)) return last.credential;
    const token = tokenOf(authorization);
    if (token.startsWith(tokenPrefix)) {
      if (tokens) return tokens.of(token);
      throw invalidToken();
    }
    if (!issuers) throw invalidToken();
    const key = hash('sha256', token, 'base64');
    const before = verified.get(key);
    if (before && isSettled(before)) {
      if (session) shown.set(session, { authorization, credential: before });
      return before;
    }
    return issuers.verify(token).then((credential) => {
      verified.set(key, credential);
      return credential;
    });
  }

  function both(own: Credential | undefined, given: Credential): Credential {
    if (!own) return given;
    const known = together.get(own) ?? new WeakMap<Credential, Credential>();
    together.set(own, known);
    const made = known.get(given) ?? {
      ...given,
      expiresAt: Math.min(own.expiresAt, given.expiresAt),
      stands: () => own.stands() && given.stands(),
      actor: own,
    };
    known.set(given, made);
    return made;
  }

  function checked(credential: Credential, headers: IncomingHttpHeaders): Credential {
    const end = endOf(credential, edge.now());
    if (end) throw end;
    const named = headers['memoir-principal'];
    if (named !== undefined && named !== credential.principal) {
      throw unauthenticated(
        'PRINCIPAL_DIFFERS',
        `metadata memoir-principal ${quote(String(named))} is not ${quote(credential.principal)}, whom the credential of the call proves`,
      );
    }
    return credential;
  }

  return {
    credentialOf(session, headers) {
      const own = session && certificates?.of(session);
      const end = own && endOf(own, edge.now());
      if (end) throw end;
      const { authorization } = headers;
      if (authorization === undefined) {
        if (own) return checked(own, headers);
        throw unauthenticated(
          'NO_CREDENTIAL',
          'the call proves nobody: give a token (metadata authorization: Bearer …) or, by TLS, a certificate',
        );
      }
      const found = bearer(session, authorization);
      if (found instanceof Promise) return found.then((credential) => checked(both(own, credential), headers));
      return checked(both(own, found), headers);
    },
    close() {
      tokens?.close();
      issuers?.close();
      certificates?.close();
    },
  };
}

function tokenOf(authorization: string): string {
  const [, token] = /^Bearer ([A-Za-z0-9._~+/-]+=*)$/i.exec(authorization) ?? [];
  if (token !== undefined) return token;
  throw unauthenticated('BAD_AUTHORIZATION', 'metadata authorization is not "Bearer" and one token');
}

/** @throws Error naming two sources that could name the same principal */
function checkApart(sources: readonly (readonly [source: string, template: string])[]): void {
  for (const [i, [one, template]] of sources.entries()) {
    for (const [other, another] of sources.slice(i + 1)) {
      if (!canMeet(parseTemplate(template), parseTemplate(another))) continue;
      throw new Error(
        `${one} and ${other} can give the same principal, by ${quote(template)} and ${quote(another)}: give them different prefixes`,
      );
    }
  }
}
