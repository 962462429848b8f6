import { invalid, type MemoirError, quote } from './errors.js';

// Names of images follow the reference grammar of docker
// (https://github.com/distribution/reference/blob/main/reference.go): [domain[:port]/]path[:tag][@digest].

const component = '[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*';
const domainComponent = '(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])';
const domain = `${domainComponent}(?:\\.${domainComponent})*(?::[0-9]{1,5})?`;
const repositoryPattern = new RegExp(`^(?:${domain}/)?${component}(?:/${component})*$`);
const tagPattern = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const hashPattern = /^(?:sha256:)?([0-9a-f]{64})$/i;
const hashPrefixPattern = /^(?:sha256:)?([0-9a-f]{12,63})$/i;
// What is not printable or begins like an option must never come to a worker's command line.
const locatorPattern = /^[A-Za-z0-9][\x21-\x7e]*$/;

/** Longest name of a repository, in characters. */
const longestRepository = 255;

/** Longest locator, in characters. */
const longestLocator = 1_024;

/**
 * What a text asks for among the registered images: the one with this locator; and, where the text can be read so, those with this
 * hash, or those of a repository, of these the ones with this tag and this hash.
 */
export type ImageSearch = {
  /** The text itself. */
  readonly locator: string;
  /** Name of a repository; absent for any. */
  readonly repository?: string;
  /** A tag; absent for any. */
  readonly tag?: string;
  /** "sha256:" and 64 lower-case hexadecimal digits; absent for any. */
  readonly hash?: string;
  /** In sets: the begin of a hash, "sha256:" and 12 to 63 lower-case hexadecimal digits; also those whose hash begins so. */
  readonly hashPrefix?: string;
};

/** The hash as "sha256:" and 64 lower-case hexadecimal digits; undefined if the text, with or without "sha256:", is none. */
export function imageHash(text: string): string | undefined {
  const digits = hashPattern.exec(text)?.[1];
  return digits === undefined ? undefined : `sha256:${digits.toLowerCase()}`;
}

/** Whether the text can be the name of a repository. One of 64 hexadecimal digits would pass for a hash. */
export function isImageRepository(text: string): boolean {
  return text.length <= longestRepository && repositoryPattern.test(text) && imageHash(text) === undefined;
}

/** Whether the text can be a tag. */
export function isImageTag(text: string): boolean {
  return tagPattern.test(text);
}

/** What a text asks for; undefined if no image can be named so. */
export function imageSearch(text: string): ImageSearch | undefined {
  if (text.length > longestLocator || !locatorPattern.test(text)) return undefined;
  const hash = imageHash(text);
  if (hash !== undefined) return { locator: text, hash };
  return { locator: text, ...nameParts(text) };
}

/** What a text asks for where it stands for a set of images: as `imageSearch`, and by 12 or more digits those whose hash begins so. */
export function imageSetSearch(text: string): ImageSearch | undefined {
  const search = imageSearch(text);
  const digits = hashPrefixPattern.exec(text)?.[1];
  return search && digits !== undefined ? { ...search, hashPrefix: `sha256:${digits.toLowerCase()}` } : search;
}

/** A name in its parts; none if the text is no name. */
function nameParts(text: string): Omit<ImageSearch, 'locator'> {
  const [name = '', digest, ...more] = text.split('@');
  const colon = name.indexOf(':', name.lastIndexOf('/') + 1);
  const [repository, tag] = colon < 0 ? [name] : [name.slice(0, colon), name.slice(colon + 1)];
  const hash = digest?.startsWith('sha256:') ? imageHash(digest) : undefined;
  if (more.length > 0 || !isImageRepository(repository as string)) return {};
  if ((tag !== undefined && !isImageTag(tag)) || (digest !== undefined && hash === undefined)) return {};
  return { repository: repository as string, ...(tag !== undefined && { tag }), ...(hash && { hash }) };
}

/**
 * The search with a tag that was given beside it; an empty tag changes nothing.
 * @throws MemoirError INVALID_ARGUMENT naming the tag: BAD_TAG, or CONFLICTING_TAGS if the text names another one
 */
export function withTag(search: ImageSearch, tag: string, field: string): ImageSearch {
  if (tag === '') return search;
  checkTag(field, tag);
  if (search.tag !== undefined && search.tag !== tag) {
    throw invalid(
      field,
      'CONFLICTING_TAGS',
      `${field} ${quote(tag)} is not the tag of the image ${quote(search.locator)}, which it stands beside`,
    );
  }
  return { ...search, tag };
}

/** @throws MemoirError INVALID_ARGUMENT BAD_TAG naming the text */
export function checkTag(field: string, text: string): void {
  if (isImageTag(text)) return;
  throw invalid(
    field,
    'BAD_TAG',
    `${field} ${quote(text)} is no tag of an image: up to 128 letters, digits, "_", "." and "-", not beginning with "." or "-"`,
  );
}

/** @throws MemoirError INVALID_ARGUMENT BAD_IMAGE_REPOSITORY naming the text */
export function checkRepository(field: string, text: string): void {
  if (isImageRepository(text)) return;
  throw invalid(
    field,
    'BAD_IMAGE_REPOSITORY',
    `${field} ${quote(text)} is no name of an image's repository, such as "arvados/jobs" or "registry.example:5000/jobs"`,
  );
}

/** A checked image that can be registered. */
export type ImageFacts = {
  readonly locator: string;
  /** "sha256:" and 64 lower-case hexadecimal digits. */
  readonly hash: string;
  readonly repository: string;
  /** Empty if it has none. */
  readonly tag: string;
};

/**
 * The image that a client tells of; without a locator, "<repository>@<hash>" is taken.
 * @throws MemoirError INVALID_ARGUMENT naming the field and its value
 */
export function checkImage(given: ImageFacts): ImageFacts {
  const { repository, tag } = given;
  if (given.hash === '') throw required('hash');
  const hash = imageHash(given.hash);
  if (hash === undefined) {
    throw invalid(
      'hash',
      'BAD_HASH',
      `hash ${quote(given.hash)} is not 64 hexadecimal digits, after "sha256:" or alone`,
    );
  }
  if (repository === '') throw required('repository');
  checkRepository('repository', repository);
  if (tag !== '') checkTag('tag', tag);
  const locator = given.locator === '' ? `${repository}@${hash}` : given.locator;
  checkLocator(locator, hash);
  return { locator, hash, repository, tag };
}

/** A locator must not pass for the name of other images, since locators are names too. */
function checkLocator(locator: string, hash: string): void {
  const search = imageSearch(locator);
  if (!search) {
    throw invalid(
      'locator',
      'BAD_LOCATOR',
      `locator ${quote(locator)} is not up to ${longestLocator} printable ASCII characters without spaces that begin with a letter or digit`,
    );
  }
  const passesForName = search.hash === undefined ? search.repository !== undefined : search.repository === undefined;
  if (!passesForName || imageHash(locator) === hash) return;
  throw invalid(
    'locator',
    'AMBIGUOUS_LOCATOR',
    `locator ${quote(locator)} would pass for the name of other images; give one with a digest, such as "team/app@${hash}"`,
  );
}

function required(field: string): MemoirError {
  return invalid(field, 'REQUIRED', `${field} is required`);
}
