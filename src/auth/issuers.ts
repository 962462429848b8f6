import {
  type CryptoKey,
  decodeJwt,
  decodeProtectedHeader,
  errors,
  type JWTPayload,
  type JWTVerifyGetKey,
  type JWTVerifyOptions,
  jwtVerify,
} from 'jose';
import type { Logger } from 'pino';
import type { IssuerConfig } from '../config/auth.js';
import { type Credential, unauthenticated } from '../domain/callers/credential.js';
import { isPrincipal, isReserved, parseTemplate, principalBy } from '../domain/callers/principal.js';
import { MemoirError, quote } from '../domain/errors.js';
import type { Edge } from '../edge.js';
import { type IssuerKeys, openIssuerKeys } from './issuer-keys.js';
import { tokenDigest } from './token-file.js';
import { invalidToken } from './tokens.js';

/** Those who sign tokens. */
export type Issuers = {
  /**
   * What a signed token proves.
   * @throws MemoirError UNAUTHENTICATED if it is not accepted; UNAVAILABLE if that cannot be told at the moment
   */
  verify(token: string): Promise<Credential>;
  close(): void;
};

type Issuer = { readonly name: string; readonly config: IssuerConfig; readonly keys: IssuerKeys };

/**
 * Tells callers by tokens that issuers signed. By which algorithms a token may be signed, whom and what it may be for is said by the settings, never by
 * the token; why one is refused is told only of those whose signature is good.
 * @throws Error naming what of the settings cannot be used
 */
export function openIssuers(configs: Readonly<Record<string, IssuerConfig>>, edge: Edge, logger: Logger): Issuers {
  const issuers = new Map<string, Issuer>();
  for (const [name, config] of Object.entries(configs)) {
    if (issuers.has(config.issuer)) throw new Error(`two of auth.issuers have the issuer ${quote(config.issuer)}`);
    issuers.set(config.issuer, { name, config, keys: openIssuerKeys(name, config, edge, logger) });
  }
  return {
    async verify(token) {
      const { issuer, kid } = named(token, issuers);
      const { config, keys } = issuer;
      // The keys as they are before, so that what changes meanwhile is noticed.
      const { payload, state } = await verified(token, issuer, kid, edge);
      return credentialOf(token, payload, issuer, () => keys.stateOf(kid) === state, config);
    },
    close() {
      for (const { keys } of issuers.values()) keys.close();
    },
  };
}

/** The issuer that a token says it is from, and the key that it names. */
function named(token: string, issuers: ReadonlyMap<string, Issuer>): { issuer: Issuer; kid: string | undefined } {
  try {
    const { kid } = decodeProtectedHeader(token);
    const issuer = issuers.get(String(decodeJwt(token).iss));
    if (issuer) return { issuer, kid };
  } catch (error) {
    throw invalidToken(error);
  }
  throw invalidToken();
}

async function verified(
  token: string,
  { config, keys }: Issuer,
  kid: string | undefined,
  edge: Edge,
): Promise<{ readonly payload: JWTPayload; readonly state: string }> {
  let state = '';
  const asked: JWTVerifyOptions = {
    issuer: config.issuer,
    audience: config.audience,
    algorithms: config.algorithms,
    clockTolerance: config.clock_tolerance,
    requiredClaims: ['exp', 'sub', 'aud'],
    currentDate: new Date(edge.now()),
  };
  const keyOf: JWTVerifyGetKey = async (header, parts) => {
    const key = await keys.keyOf(header, parts);
    state = keys.stateOf(kid);
    return key;
  };
  try {
    const { payload, protectedHeader } = await jwtVerify(token, keyOf, asked).catch((error) => {
      state = keys.stateOf(kid);
      return byOneOf(error, (key) => jwtVerify(token, key, asked));
    });
    checkType(protectedHeader.typ, config);
    checkLifetime(payload, config, edge);
    return { payload, state };
  } catch (error) {
    throw refusalOf(error);
  }
}

/** Most keys that are tried for a token which does not say by which it was signed. */
const mostTried = 8;

/** What one of several keys verifies, where a token names none; another error is thrown as it is. */
async function byOneOf<T>(error: unknown, verify: (key: CryptoKey) => Promise<T>): Promise<T> {
  if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error;
  let tried = 0;
  for await (const key of error) {
    try {
      return await verify(key);
    } catch (failure) {
      tried += 1;
      if (!(failure instanceof errors.JWSSignatureVerificationFailed) || tried === mostTried) throw failure;
    }
  }
  throw error;
}

const typeOf = (text: string): string => text.toLowerCase().replace(/^application\//, '');

function checkType(typ: string | undefined, { types }: IssuerConfig): void {
  if (typ !== undefined && types.some((type) => typeOf(type) === typeOf(typ))) return;
  throw unauthenticated('WRONG_TOKEN_TYPE', 'the token of the call is of a type (typ) that is not for calls');
}

function checkLifetime(
  { exp = 0, iat }: JWTPayload,
  { longest_lifetime, clock_tolerance }: IssuerConfig,
  edge: Edge,
): void {
  const now = edge.now() / 1_000;
  // What says that it begins later is good from now on all the same.
  const from = Math.min(iat ?? now, now);
  if (exp - from <= longest_lifetime + clock_tolerance) return;
  throw unauthenticated(
    'TOKEN_LIVES_TOO_LONG',
    `the token of the call is good for longer than the ${longest_lifetime} seconds that may be`,
  );
}

/** What a caller is told. jose looks at claims only once it found the signature good. */
function refusalOf(error: unknown): MemoirError {
  if (error instanceof MemoirError) return error;
  if (error instanceof errors.JWTExpired) return unauthenticated('TOKEN_EXPIRED', 'the token of the call has expired');
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.claim === 'aud' && error.reason !== 'missing') {
      return unauthenticated('WRONG_AUDIENCE', 'the token of the call is for somebody else (aud)');
    }
    if (error.claim === 'nbf')
      return unauthenticated('TOKEN_NOT_YET_VALID', 'the token of the call is not valid yet (nbf)');
    const what = error.reason === 'missing' ? 'missing' : 'not what it must be';
    return unauthenticated('WRONG_CLAIM', `the claim ${quote(error.claim)} of the token is ${what}`);
  }
  return invalidToken(error);
}

function credentialOf(
  token: string,
  payload: JWTPayload,
  { name }: Issuer,
  stands: () => boolean,
  config: IssuerConfig,
): Credential {
  const claimed = payload[config.principal_claim];
  if (typeof payload.sub !== 'string' || payload.sub === '') throw wrongClaim('sub');
  if (typeof claimed !== 'string' || claimed === '') throw wrongClaim(config.principal_claim);
  const principal = principalBy(parseTemplate(config.principal ?? `${name}:{}`), claimed);
  if (!isPrincipal(principal) || isReserved(principal)) throw wrongClaim(config.principal_claim);
  const id =
    typeof payload.jti === 'string' && isPrincipal(payload.jti) ? payload.jti : tokenDigest(token).slice(0, 12);
  return {
    kind: 'jwt',
    id: `${name}/${id}`,
    principal,
    groups: groupsOf(payload[config.groups_claim], config.groups),
    expiresAt: ((payload.exp as number) + config.clock_tolerance) * 1_000,
    stands,
  };
}

const wrongClaim = (claim: string): MemoirError =>
  unauthenticated('WRONG_CLAIM', `the claim ${quote(claim)} of the token names nobody that can be a principal`);

/** Groups that a token names and may. */
function groupsOf(claim: unknown, allowed: readonly string[]): readonly string[] {
  const named = Array.isArray(claim) ? claim : typeof claim === 'string' ? [claim] : [];
  return allowed.filter((group) => named.includes(group));
}
