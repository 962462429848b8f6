import { hash } from 'node:crypto';
import type { KeyValue } from '../../../projections/lists/list-query.js';
import { invalid, quote } from '../../domain/errors.js';
import type { ScalarKind } from '../../domain/filters/field.js';

/** Longest token that is read, in characters; the longest text of a job is far below. */
const longest = 1_000_000;

/** What a token is for: the list and everything in the request that decides which jobs follow which. Any JSON. */
export type Listed = readonly unknown[];

/** The token of the page behind the job with these keys. It is good for the same list only. */
export function listTokenOf(listed: Listed, keys: readonly KeyValue[]): string {
  return Buffer.from(JSON.stringify([digestOf(listed), ...keys])).toString('base64url');
}

/**
 * The keys that a token holds, of which `kinds` tells the kinds; undefined for an empty token.
 * @throws MemoirError INVALID_ARGUMENT: BAD_TOKEN if it is no such token, TOKEN_OF_ANOTHER_LIST if it was given for another list
 */
export function readListToken(
  listed: Listed,
  kinds: readonly ScalarKind[],
  token: string,
): readonly KeyValue[] | undefined {
  if (token === '') return undefined;
  const parts = token.length > longest ? undefined : parsed(token);
  const [digest, ...keys] = parts ?? [];
  if (typeof digest !== 'string' || !/^[\w-]{22}$/.test(digest))
    throw wrong(token, 'BAD_TOKEN', 'was not given by a list');
  if (digest !== digestOf(listed)) {
    const why = 'was given for a list with other filters or another order; begin again without it';
    throw wrong(token, 'TOKEN_OF_ANOTHER_LIST', why);
  }
  if (keys.length !== kinds.length || !keys.every((key, i) => isKey(key, kinds[i] ?? 'text'))) {
    throw wrong(token, 'BAD_TOKEN', 'was not given by this list');
  }
  return keys as KeyValue[];
}

function isKey(key: unknown, kind: ScalarKind): boolean {
  if (kind === 'text') return typeof key === 'string';
  return key === null || (typeof key === 'number' && Number.isFinite(key));
}

function parsed(token: string): unknown[] | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(token, 'base64url').toString());
    return Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function digestOf(listed: Listed): string {
  return hash('sha256', JSON.stringify(listed), 'base64url').slice(0, 22);
}

function wrong(token: string, reason: string, why: string) {
  return invalid('page_token', reason, `page_token ${quote(token, 60)} ${why}`);
}
