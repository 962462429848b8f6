import type { Offer } from '../../../gen/memoir/jobs/v1/attempt_pb.js';
import { invalid, quote } from '../../domain/errors.js';
import { repositoryGlobs } from '../../domain/repositories/repository-glob.js';
import {
  type GrantedSecret,
  grantLimits,
  isGrantId,
  isPrincipalGlob,
  isSecretName,
} from '../../domain/secrets/grants.js';
import { checkLabels, checkLength, checkRequired } from '../limits.js';

/** Most of what an offer may have of each. */
const most = { cores: 1_000_000, mebibytes: 2n ** 40n, imageRuntimes: 16, word: 64, platform: 128 };

/**
 * Checks what a worker says that it has.
 * @param field of the request that the offer is
 * @throws MemoirError INVALID_ARGUMENT naming the field and its value
 */
export function checkOffer(field: string, offer: Offer): void {
  const { cores, ramMb, scratchMb, imageRuntimes, platform, sandbox } = offer;
  if (cores > most.cores) throw tooMuch(`${field}.cores`, cores, most.cores);
  if (ramMb > most.mebibytes) throw tooMuch(`${field}.ram_mb`, ramMb, most.mebibytes);
  if (scratchMb > most.mebibytes) throw tooMuch(`${field}.scratch_mb`, scratchMb, most.mebibytes);
  if (imageRuntimes.length > most.imageRuntimes) {
    const count = imageRuntimes.length;
    throw invalid(
      `${field}.image_runtimes`,
      'TOO_MANY',
      `${field}.image_runtimes names ${count}, and ${most.imageRuntimes} is the limit`,
    );
  }
  for (const [i, word] of imageRuntimes.entries()) checkWord(`${field}.image_runtimes[${i}]`, word);
  if (sandbox !== '') checkWord(`${field}.sandbox`, sandbox);
  checkPlatform(`${field}.platform`, platform);
  checkLabels(`${field}.labels`, offer.labels);
  if (offer.secrets.length > 0) checkSecrets(`${field}.secrets`, offer.secrets);
}

function checkSecrets(field: string, secrets: readonly GrantedSecret[]): void {
  const tooMany = (what: string, count: number, limit: number) =>
    invalid(what, 'TOO_MANY', `${what} names ${count}, and ${limit} is the limit`);
  if (secrets.length > grantLimits.secrets) throw tooMany(field, secrets.length, grantLimits.secrets);
  for (const [i, { name, grant, repositories, principals }] of secrets.entries()) {
    const at = `${field}[${i}]`;
    const bad = (part: string, value: string, what: string) =>
      invalid(`${at}.${part}`, 'BAD_SECRET', `${at}.${part} ${quote(value)} is no ${what}`);
    if (!isSecretName(name)) throw bad('name', name, 'name of a secret');
    if (!isGrantId(grant)) throw bad('grant', grant, 'id of a grant');
    for (const [part, globs] of [
      ['repositories', repositories],
      ['principals', principals],
    ] as const) {
      if (globs.length > grantLimits.globs) throw tooMany(`${at}.${part}`, globs.length, grantLimits.globs);
      for (const glob of globs) checkRequired(`${at}.${part}`, glob, grantLimits.glob);
    }
    if (!repositoryGlobs(repositories)) throw bad('repositories', repositories.join(' '), 'globs of repositories');
    const wrong = principals.find((glob) => !isPrincipalGlob(glob));
    if (wrong !== undefined) throw bad('principals', wrong, 'glob of principals');
  }
}

/** @throws MemoirError INVALID_ARGUMENT if a platform that is not empty is none as images have it */
export function checkPlatform(field: string, platform: string): void {
  checkLength(field, platform, most.platform);
  if (platform === '' || /^[A-Za-z0-9_.-]+(\/[A-Za-z0-9_.-]+){1,2}$/.test(platform)) return;
  throw invalid(
    field,
    'BAD_PLATFORM',
    `${field} ${quote(platform)} is not one as images have it, such as "linux/amd64"`,
  );
}

function checkWord(field: string, word: string): void {
  checkLength(field, word, most.word);
  if (/^[A-Za-z0-9_.-]+$/.test(word)) return;
  throw invalid(field, 'BAD_WORD', `${field} ${quote(word)} is not a word of letters, digits, "_", "-" and "."`);
}

function tooMuch(field: string, value: number | bigint, limit: number | bigint) {
  return invalid(field, 'OUT_OF_RANGE', `${field} ${value} is more than ${limit}`);
}
