/**
 * Whether git would accept the text as the name of a ref, by the rules of git-check-ref-format(1) with one-level names allowed.
 * Such a name never leaves the directory it is looked up in.
 */
export function isRefName(name: string): boolean {
  if (name === '' || name === '@' || name.endsWith('.') || name.includes('..') || name.includes('@{')) return false;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what git refuses
  if (/[\u0000-\u0020\u007f~^:?*[\\]/.test(name) || !name.isWellFormed()) return false;
  return name
    .split('/')
    .every((part) => part !== '' && !part.startsWith('.') && !part.endsWith('.lock') && Buffer.byteLength(part) <= 255);
}

/** Whether the name is one that git keeps outside `refs/`, such as HEAD or FETCH_HEAD. */
export function isRootRef(name: string): boolean {
  return /^[A-Z_]+$/.test(name);
}
