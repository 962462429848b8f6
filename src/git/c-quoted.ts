const escapes: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '\\': '\\',
  '"': '"',
};

/**
 * The name at the beginning of a line, in quotes as C has them and as git quotes paths (`unquote_c_style`), and what follows it. Octal escapes
 * give characters up to U+00FF, so that a line whose characters are bytes gives bytes. Undefined for a name without an end, or with an escape
 * that is none.
 */
export function unquote(line: string): { readonly name: string; readonly rest: string } | undefined {
  if (!line.startsWith('"')) return undefined;
  let name = '';
  for (let at = 1; at < line.length; ) {
    const character = line.charAt(at);
    if (character === '"') return { name, rest: line.slice(at + 1) };
    if (character !== '\\') {
      name += character;
      at++;
      continue;
    }
    const octal = /^[0-3][0-7]{2}/.exec(line.slice(at + 1, at + 4))?.[0];
    const escaped = octal ? String.fromCharCode(Number.parseInt(octal, 8)) : escapes[line.charAt(at + 1)];
    if (escaped === undefined) return undefined;
    name += escaped;
    at += 1 + (octal?.length ?? 1);
  }
  return undefined;
}
