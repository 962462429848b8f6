import { MemoirError } from '../errors.js';

/** What a credential is: a token of the server's file, one that an issuer signed, or the certificate of a connection. */
export type CredentialKind = 'token' | 'jwt' | 'certificate';

/** What proves who calls. Two calls by the same one have the same object, so that what follows from it is kept by it. */
export type Credential = {
  readonly kind: CredentialKind;
  /** What it is told by in logs and events; never the secret. */
  readonly id: string;
  readonly principal: string;
  /** Groups of the policy that it puts the principal in. */
  readonly groups: readonly string[];
  /** When it ends, in milliseconds since 1970-01-01T00:00Z. */
  readonly expiresAt: number;
  /** Whether it was not taken back: revoked, denied, its authority or key no longer known. */
  stands(): boolean;
  /** The service that calls on behalf of the principal, by a certificate of its own. */
  readonly actor?: Credential;
};

/** Who calls: by a credential, or by a principal's name where nothing proves it. */
export type Who = string | Credential;

/** The principal. */
export const principalOfWho = (who: Who): string => (typeof who === 'string' ? who : who.principal);

/** Why a credential says nothing any more; undefined while it does. */
export function endOf({ kind, expiresAt, stands }: Credential, now: number): MemoirError | undefined {
  const name = kind === 'certificate' ? 'certificate' : 'token';
  if (now >= expiresAt) {
    return unauthenticated(
      `${name.toUpperCase()}_EXPIRED`,
      `the ${name} of the call expired at ${new Date(expiresAt).toISOString()}`,
    );
  }
  if (!stands()) return unauthenticated(`${name.toUpperCase()}_REVOKED`, `the ${name} of the call was taken back`);
  return undefined;
}

/** An UNAUTHENTICATED. The message is for whoever calls, who may be anybody. */
export const unauthenticated = (reason: string, message: string, cause?: unknown): MemoirError =>
  new MemoirError('UNAUTHENTICATED', reason, message, { cause });
