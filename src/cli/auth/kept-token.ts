import { setTimeout as delay } from 'node:timers/promises';
import { MemoirError, messageOf, quote } from '../../domain/errors.js';
import { systemEdge } from '../../edge.js';
import { note } from '../text/output.js';
import { printable } from '../text/printable.js';
import { keepProfile, lockOf, type Profile, readProfile } from './profile.js';

/** How long another process may take to renew the same token, in milliseconds. */
const patience = 40_000;

/** Least time between two tries to renew a token that goes on meanwhile, in milliseconds. */
const betweenTries = 10_000;

const { now } = systemEdge;
const isPast = (time: string | undefined): boolean => time !== undefined && now() >= Date.parse(time);
const isDue = ({ login }: Profile): boolean => isPast(login?.renew_at) && login?.refresh_token !== undefined;

/**
 * The profile, with a token that is good for a while: where an issuer gave it and its time is nearly over, it is renewed and kept, by one process at a
 * time, since an issuer may take it for theft if the same right to renew is used twice.
 * @throws MemoirError UNAUTHENTICATED if the login has ended; UNAVAILABLE if the token has expired and the issuer cannot be asked
 */
export async function withGoodToken(name: string, profile: Profile): Promise<Profile> {
  if (!isDue(profile)) return profile;
  const { tryLock } = await import('../../file-lock.js');
  const path = lockOf(name, process.env);
  const end = performance.now() + patience;
  for (;;) {
    const release = tryLock(path);
    if (release) {
      try {
        const kept = readProfile(name, process.env);
        if (kept) return await renewed(name, kept);
        throw new MemoirError('UNAUTHENTICATED', 'LOGIN_ENDED', `the profile ${quote(name)} was forgotten meanwhile`);
      } finally {
        release();
      }
    }
    if (performance.now() > end) {
      throw new MemoirError(
        'UNAVAILABLE',
        'LOGIN_BUSY',
        `another process renews the token of the profile ${quote(name)}, and does not end`,
      );
    }
    await delay(50);
  }
}

async function renewed(name: string, profile: Profile): Promise<Profile> {
  // Somebody else may have been first.
  if (!isDue(profile) || profile.login === undefined) return profile;
  const { renewLogin } = await import('./issuer.js');
  try {
    const next = { ...profile, ...(await renewLogin(profile.login, now)) };
    keepProfile(name, next, process.env);
    return next;
  } catch (error) {
    // What is good for some time yet goes on meanwhile.
    if (error instanceof MemoirError && error.code === 'UNAVAILABLE' && !isPast(profile.login.expires_at))
      return profile;
    throw error;
  }
}

/** The token of a profile at any time, renewed behind the calls of a process that goes on for long; undefined if there is none. */
export function keptToken(name: string, profile: Profile | undefined): (() => string) | undefined {
  if (profile?.token === undefined) return undefined;
  let kept = profile;
  let token = profile.token;
  let nextTry = 0;
  return () => {
    if (isDue(kept) && performance.now() >= nextTry) {
      nextTry = performance.now() + betweenTries;
      withGoodToken(name, kept).then(
        (next) => {
          kept = next;
          token = next.token ?? token;
        },
        // The server says so too, once the token is over.
        (error: unknown) => note(`warning: the token could not be renewed: ${printable(messageOf(error))}`),
      );
    }
    return token;
  };
}
