import { timingSafeEqual } from 'node:crypto';
import type { Logger } from 'pino';
import { type Credential, unauthenticated } from '../domain/callers/credential.js';
import { parseTemplate } from '../domain/callers/principal.js';
import { watchFiles } from '../files/watched-files.js';
import { openToOthers, principalOfToken, readTokens, type TokenRecord, tokenDigest } from './token-file.js';

/** The tokens of a file. */
export type Tokens = {
  /** What a token proves, though it may have ended. @throws MemoirError UNAUTHENTICATED if it is none of them */
  of(token: string): Credential;
  close(): void;
};

type Kept = { readonly record: TokenRecord; readonly digest: Buffer; readonly credential: Credential };

/**
 * Tells callers by tokens of a file, which is read again when it changes. Looked up is the SHA-256 of what was sent, of which nobody can choose how far
 * it agrees with one that is kept, so that the time of a look-up tells nothing of a token.
 * @throws Error naming the file and what is wrong in it
 */
export function openTokens(path: string, template: string, logger: Logger): Tokens {
  let kept = read(new Map());

  /** Tokens that are as before keep their credential, and so what is known of them. */
  function read(before: ReadonlyMap<string, Kept>): ReadonlyMap<string, Kept> {
    const principals = parseTemplate(template);
    const records = readTokens(path).map((record) => {
      const known = before.get(record.sha256);
      const credential =
        known && JSON.stringify(known.record) === JSON.stringify(record)
          ? known.credential
          : credentialOf(record, principalOfToken(principals, record));
      return [record.sha256, { record, digest: Buffer.from(record.sha256, 'hex'), credential }] as const;
    });
    if (openToOthers(path)) {
      logger.warn({ path }, 'the file of tokens is open to others than its owner: give it the permissions 0600');
    }
    return new Map(records);
  }

  function credentialOf({ id, sha256, expires_at }: TokenRecord, principal: string): Credential {
    const credential: Credential = {
      kind: 'token',
      id,
      principal,
      groups: [],
      expiresAt: Date.parse(expires_at),
      stands() {
        const now = kept.get(sha256);
        return now?.credential === credential && now.record.revoked_at === undefined;
      },
    };
    return credential;
  }

  const watch = watchFiles([path], {
    changed() {
      kept = read(kept);
      logger.info({ path, tokens: kept.size }, 'the file of tokens was read again');
    },
    failed: (error) =>
      logger.error({ path, err: error }, 'the changed file of tokens cannot be used; the one before goes on'),
  });

  return {
    of(token) {
      const sha256 = tokenDigest(token);
      const found = kept.get(sha256);
      if (found && timingSafeEqual(found.digest, Buffer.from(sha256, 'hex'))) return found.credential;
      throw invalidToken();
    },
    close: () => watch.close(),
  };
}

/** Says the same of every token that is not accepted, unless it was signed or made for this server. */
export const invalidToken = (cause?: unknown) =>
  unauthenticated('INVALID_TOKEN', 'the token of the call is none that this server accepts', cause);
