/** Longest path that is asked for, in bytes. */
const longestPath = 4_096;

/**
 * The path that a `git:` URL means, as git has it: percent-encoding undone, and `/~user` without its slash. Or what is wrong with
 * it: what could end the request early or hide another in it, or could lead out of what a server gives away.
 */
export function gitPath(url: URL): { readonly path: string } | { readonly problem: string } {
  if (url.search !== '' || url.hash !== '') return { problem: 'a git: URL has neither a query nor a fragment' };
  let path: string;
  try {
    path = decodeURIComponent(url.pathname);
  } catch {
    return { problem: 'its path is not UTF-8' };
  }
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
  if (/[\u0000-\u001f\u007f]/.test(path)) return { problem: 'its path has a control character' };
  if (!path.startsWith('/') || /^\/*$/.test(path)) return { problem: 'it names no repository' };
  if (path.split('/').some((part) => part === '..' || part === '.')) return { problem: 'its path has "." or ".."' };
  if (Buffer.byteLength(path) > longestPath) return { problem: `its path has more than ${longestPath} bytes` };
  return { path: path.startsWith('/~') ? path.slice(1) : path };
}
