import type { Problem } from './rules.js';

/** Tops of the tree whose paths pages name; what is in back quotes and begins with one of them is a path. */
const tops = ['src', 'projections', 'proto', 'test', 'bench', 'demo', 'docs'];

/** Links of Markdown that point into the tree, and paths in back quotes. */
const mentions = [
  /\]\((?!https?:|mailto:|#)([^)#\s]+)(?:#[^)]*)?\)/g,
  new RegExp(`\`((?:${tops.join('|')})/[\\w./-]*)\``, 'g'),
];

/**
 * What pages have against the tree. `pages` are texts by their path from the root; `exists` tells whether there is a file or folder.
 * Every path that a page names must be there, and the README must name every folder of src.
 */
export function checkPaths(
  pages: ReadonlyMap<string, string>,
  exists: (path: string) => boolean,
  rooms: readonly string[],
): Problem[] {
  const problems: Problem[] = [];
  for (const [file, text] of pages) {
    const [links, quoted] = mentions as [RegExp, RegExp];
    const folder = file.slice(0, file.lastIndexOf('/') + 1);
    for (const [, path] of text.matchAll(links)) {
      if (!exists(`${folder}${path}`)) problems.push({ file, rule: `it links to ${path}, which is not there` });
    }
    for (const [, path] of text.matchAll(quoted)) {
      if (!exists(path as string)) problems.push({ file, rule: `it names ${path}, which is not there` });
    }
  }
  const readme = pages.get('README.md') ?? '';
  for (const room of rooms) {
    if (!readme.includes(`(${room})`)) problems.push({ file: 'README.md', rule: `its map does not have ${room}` });
  }
  return problems;
}
