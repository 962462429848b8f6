import { readFileSync } from 'node:fs';
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose';
import type { Logger } from 'pino';
import type { IssuerConfig } from '../config/auth.js';
import { MemoirError, messageOf, quote } from '../domain/errors.js';
import type { Edge } from '../edge.js';
import { watchFiles } from '../files/watched-files.js';

/** What one request for keys may take: milliseconds until the last byte of its answer, and bytes of that. */
export type KeyRequestBounds = { readonly longest: number; readonly mostBytes: number };

const usualBounds: KeyRequestBounds = { longest: 5_000, mostBytes: 1024 * 1024 };

/** How long keys are not asked for again because a token names one that is not among them, in milliseconds. */
const pause = 30_000;

/** The public keys of an issuer. */
export type IssuerKeys = {
  /**
   * The key of a token, asked for if it is not known.
   * @throws errors of jose if there is none; MemoirError UNAVAILABLE if no keys are known, or only such as are too old
   */
  readonly keyOf: JWTVerifyGetKey;
  /** What is known now of the keys with an id: another text once one of them came, went or changed. */
  stateOf(kid: string | undefined): string;
  close(): void;
};

type KeySet = { readonly get: JWTVerifyGetKey; readonly states: ReadonlyMap<string | undefined, string> };

/**
 * The keys of a file, or of a URL, which are asked for again at intervals and when a token names one that is not among them, no more than once in a while.
 * While the issuer is away those that are known go on for a time.
 * @throws Error naming the file that cannot be used
 */
export function openIssuerKeys(
  name: string,
  config: IssuerConfig,
  edge: Edge,
  logger: Logger,
  bounds = usualBounds,
): IssuerKeys {
  if (!/^https?:\/\//i.test(config.jwks)) return ofFile(name, config.jwks, logger);
  return ofUrl(name, config, edge, logger, bounds);
}

function ofFile(name: string, path: string, logger: Logger): IssuerKeys {
  const read = () => {
    try {
      return keySetOf(readFileSync(path, 'utf8'));
    } catch (error) {
      throw new Error(`the keys ${quote(path)} of the issuer ${name} cannot be used: ${messageOf(error)}`, {
        cause: error,
      });
    }
  };
  let keys = read();
  const watch = watchFiles([path], {
    changed() {
      keys = read();
      logger.info({ path, issuer: name }, 'the keys of an issuer were read again');
    },
    failed: (error) =>
      logger.error({ path, issuer: name, err: error }, 'changed keys cannot be used; those before go on'),
  });
  return {
    keyOf: (header, token) => keys.get(header, token),
    stateOf: (kid) => keys.states.get(kid) ?? '',
    close: () => watch.close(),
  };
}

function ofUrl(name: string, config: IssuerConfig, edge: Edge, logger: Logger, bounds: KeyRequestBounds): IssuerKeys {
  const { jwks: url, refresh_keys, accept_stale_keys } = config;
  let keys: KeySet | undefined;
  let heardAt = Number.NEGATIVE_INFINITY;
  let askedAt = Number.NEGATIVE_INFINITY;
  let asking: Promise<void> | undefined;
  const closing = new AbortController();

  /** Asks for the keys; several who want them wait for one answer. */
  function ask(): Promise<void> {
    asking ??= fetchKeys(url, bounds, closing.signal)
      .then((text) => {
        keys = keySetOf(text);
        heardAt = edge.monotonic();
      })
      .catch((error) => {
        if (closing.signal.aborted) return;
        logger.warn({ issuer: name, url, why: messageOf(error) }, 'the keys of an issuer cannot be had');
      })
      .finally(() => {
        askedAt = edge.monotonic();
        asking = undefined;
      });
    return asking;
  }

  /** Asks unless that was done a moment ago. */
  async function askNow(): Promise<void> {
    const between = Math.min(keys ? pause : 1_000, refresh_keys * 1_000);
    if (asking || edge.monotonic() - askedAt >= between) await ask();
  }

  function usable(): KeySet {
    const age = edge.monotonic() - heardAt;
    if (keys && age <= Math.max(accept_stale_keys, refresh_keys + bounds.longest / 1_000) * 1_000) return keys;
    throw new MemoirError(
      'UNAVAILABLE',
      'ISSUER_UNAVAILABLE',
      'the token of the call cannot be checked at the moment, since its issuer does not answer; try again later',
    );
  }

  const timer = setInterval(() => void ask(), refresh_keys * 1_000);
  timer.unref();
  void ask();

  return {
    async keyOf(header, token) {
      if (!keys) await askNow();
      try {
        return await usable().get(header, token);
      } catch (error) {
        if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
        await askNow();
        return usable().get(header, token);
      }
    },
    stateOf: (kid) => keys?.states.get(kid) ?? '',
    close() {
      clearInterval(timer);
      closing.abort();
    },
  };
}

/** @throws Error saying what is wrong with the answer, or that there was none in time */
async function fetchKeys(url: string, { longest, mostBytes }: KeyRequestBounds, signal: AbortSignal): Promise<string> {
  const answer = await fetch(url, {
    // Where else the keys are is for the settings to say.
    redirect: 'error',
    headers: { accept: 'application/json, application/jwk-set+json' },
    signal: AbortSignal.any([signal, AbortSignal.timeout(longest)]),
  }).catch((error: Error) => {
    throw new Error(messageOf(error.cause ?? error), { cause: error });
  });
  if (answer.status !== 200 || !answer.body) {
    await answer.body?.cancel();
    throw new Error(`the answer is ${answer.status}`);
  }
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of answer.body) {
    size += piece.byteLength;
    // Leaving the loop ends the request.
    if (size > mostBytes) throw new Error(`the answer has more than ${mostBytes} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString('utf8');
}

/** @throws Error if the text is no set of keys */
function keySetOf(text: string): KeySet {
  let set: JSONWebKeySet;
  try {
    set = JSON.parse(text) as JSONWebKeySet;
  } catch {
    throw new Error('it is no JSON');
  }
  const get = createLocalJWKSet(set);
  const states = new Map<string | undefined, string>();
  for (const key of set.keys) states.set(key.kid, (states.get(key.kid) ?? '') + JSON.stringify(key));
  // A token without an id may be of any key.
  states.set(undefined, JSON.stringify(set.keys));
  return { get, states };
}
