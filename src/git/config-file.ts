/**
 * The values of a git configuration file by lower-case `section.key` or `section.subsection.key`, the last one winning, as
 * git-config(1) describes the syntax. Includes are not followed: what decides a repository's format may not be included.
 * Lines that git would refuse are passed over.
 */
export function readGitConfig(text: string): Map<string, string> {
  const values = new Map<string, string>();
  let section = '';
  for (const line of text.replace(/\\\r?\n/g, '').split('\n')) {
    let rest = line.trim();
    const header = /^\[\s*([A-Za-z0-9.-]+)(?:\s+"((?:[^"\\]|\\.)*)")?\s*\]/.exec(rest);
    if (header) {
      const [all, name = '', subsection] = header;
      section = name.toLowerCase();
      if (subsection !== undefined) section += `.${subsection.replace(/\\(.)/g, '$1')}`;
      rest = rest.slice(all.length).trim();
    }
    const entry = /^([A-Za-z][A-Za-z0-9-]*)\s*(?:=\s*(.*))?$/.exec(rest);
    if (entry)
      values.set(`${section}.${(entry[1] ?? '').toLowerCase()}`, entry[2] === undefined ? 'true' : value(entry[2]));
  }
  return values;
}

/** A value without its quotes, escapes and trailing comment. */
function value(raw: string): string {
  let out = '';
  let kept = 0;
  let quoted = false;
  for (let i = 0; i < raw.length; i++) {
    const c = raw.charAt(i);
    if (c === '"') quoted = !quoted;
    else if (!quoted && (c === '#' || c === ';')) break;
    else if (c === '\\') {
      const next = raw.charAt(++i);
      out += next === 'n' ? '\n' : next === 't' ? '\t' : next;
    } else out += c;
    if (quoted || !/\s/.test(c)) kept = out.length;
  }
  return out.slice(0, kept);
}
