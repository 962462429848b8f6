import { invalid, type MemoirError, quote } from '../errors.js';

/** Where a repository is that was added: a directory, or an address and the name of the credential that is sent there. */
export type AddedPlace = { readonly path: string } | { readonly url: string; readonly credential: string };

/** Most bytes of a path or URL. */
const longestPlace = 4_096;

/**
 * The place that a request names, in its one form.
 * @throws MemoirError INVALID_ARGUMENT BAD_PLACE naming the field and, but for what may be a password, the value
 */
export function addedPlace({
  path,
  url,
  credential,
}: {
  readonly path: string;
  readonly url: string;
  readonly credential: string;
}): AddedPlace {
  if ((path === '') === (url === '')) throw bad('path', 'give either path or url');
  for (const [field, value] of [
    ['path', path],
    ['url', url],
    ['credential', credential],
  ] as const) {
    if (Buffer.byteLength(value) > longestPlace) throw bad(field, `${field} has more than ${longestPlace} bytes`);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
    if (/[\u0000-\u001f\u007f]/.test(value) || !value.isWellFormed()) {
      throw bad(field, `${field} ${quote(value)} has a control character, or is not well-formed`);
    }
  }
  return path === '' ? { url: plainUrl(url), credential } : { path: plainPath(path, credential) };
}

function plainPath(path: string, credential: string): string {
  if (credential !== '') throw bad('credential', 'a credential is for a url, not for a path');
  const plain = path.replace(/(?<=.)\/$/, '');
  const parts = plain.split('/').slice(1);
  if (plain.startsWith('/') && parts.every((part) => part !== '' && part !== '.' && part !== '..')) return plain;
  throw bad('path', `path ${quote(path)} is not absolute, or has "." or ".." or empty parts`);
}

function plainUrl(text: string): string {
  if (!URL.canParse(text)) throw bad('url', `url ${quote(text.replace(/\/\/[^/]*@/, '//(not shown)@'))} is no URL`);
  const url = new URL(text);
  if (url.username !== '' || url.password !== '' || /^[a-z]+:\/*[^/]*@/i.test(text)) {
    throw bad('url', 'url has a user or a password: name a credential of the configuration instead');
  }
  if (url.search !== '' || url.hash !== '' || url.host === '') {
    throw bad('url', `url ${quote(text)} has a query or a fragment, or no host`);
  }
  const parts = decoded(url.pathname)?.split(/[/\\]/);
  if (!parts || parts.some((part) => part === '.' || part === '..')) {
    throw bad('url', `the path of url ${quote(text)} is not UTF-8, or has "." or ".." in it`);
  }
  return url.href;
}

function decoded(path: string): string | undefined {
  try {
    return decodeURIComponent(path);
  } catch {
    return undefined;
  }
}

const bad = (field: string, message: string): MemoirError => invalid(field, 'BAD_PLACE', message);

/** Whether two places are the same, whatever is sent there. */
export function samePlace(one: AddedPlace, other: AddedPlace): boolean {
  return 'path' in one ? 'path' in other && one.path === other.path : 'url' in other && one.url === other.url;
}

/**
 * Whether a path or URL is one of the prefixes, or below one: "/srv/git/team" and "https://git.example.org/team/" take in what is in these
 * directories, and not "/srv/git/team-2".
 */
export function isWithin(place: string, prefixes: readonly string[]): boolean {
  return prefixes.some((prefix) => {
    const directory = prefix.endsWith('/') ? prefix : `${prefix}/`;
    return place.startsWith(directory) || `${place}/` === directory;
  });
}
