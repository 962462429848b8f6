import { RE2JS } from 're2js';

/**
 * What tells whether the name of a repository matches one of the globs: `*` stands for anything within one part of the name, `?` for
 * one character of it, and `**` as a whole part for any parts, or none. They mean what the globs of a policy mean, but take time
 * that grows with the lengths alone, since these come from whoever calls. Undefined if one is no glob of letters, digits, ".", "_",
 * "-", "/", "*" and "?".
 */
export function repositoryGlobs(globs: readonly string[]): ((repository: string) => boolean) | undefined {
  if (!globs.every((glob) => /^[A-Za-z0-9._/*?-]+$/.test(glob))) return undefined;
  const pattern = RE2JS.compile(globs.map(expression).join('|'));
  return (repository) => pattern.matches(repository);
}

/** The glob as a regular expression. */
function expression(glob: string): string {
  const parts = glob
    .replace(/^(\.\/)+/, '')
    .split('/')
    .filter((part, i, all) => part !== '**' || all[i - 1] !== '**');
  let text = '';
  for (const [i, part] of parts.entries()) {
    const last = i === parts.length - 1;
    // "**" takes a slash with it, so that it may stand for no part: the one behind it, at the end the one before. There "a/**" takes
    // in "a", but "*/**" only what is in a directory, as in a policy.
    if (part === '**') text += last ? atEnd(parts[i - 1]) : '(?:[^/]+/)*';
    else text += `${part.replace(/[.-]/g, '\\$&').replace(/\*+/g, '[^/]*').replace(/\?/g, '[^/]')}`;
    if (part !== '**' && !last && !(parts[i + 1] === '**' && i + 2 === parts.length)) text += '/';
  }
  return `(?:${text})`;
}

function atEnd(before: string | undefined): string {
  if (before === undefined) return '.*';
  return before.endsWith('*') ? '/.*' : '(?:/.*)?';
}
