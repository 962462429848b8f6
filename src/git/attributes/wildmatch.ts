/**
 * Compiles a pattern as git's wildmatch has it, with WM_PATHNAME: "*", "?" and "[…]" never match "/", and "**" between slashes or at
 * an end matches any number of directories. Texts and patterns are bytes, each as one latin1 character. The match is tried by
 * dynamic programming, so that no pattern takes longer than the product of both lengths.
 */
export function wildmatch(pattern: string): (text: string) => boolean {
  const tokens = tokensOf(pattern);
  if (!tokens) return () => false;
  return (text) => matches(tokens, text);
}

/** Whether a pattern has a character that is not matched as itself. */
export function hasWildcard(pattern: string): boolean {
  return /[*?[\\]/.test(pattern);
}

type Token =
  /** One of these bytes. */
  | { readonly is: 'byte'; readonly among: (byte: number) => boolean }
  /** Any number of bytes, slashes too or not. */
  | { readonly is: 'any'; readonly slashes: boolean }
  /** Nothing, or anything that ends in a slash: the "**" and its slash at a begin or after a slash. */
  | { readonly is: 'directories' };

const slash = 0x2f;

/** The tokens of a pattern; undefined for one that matches nothing, since a bracket or a backslash in it has no end. */
function tokensOf(pattern: string): readonly Token[] | undefined {
  const tokens: Token[] = [];
  for (let at = 0; at < pattern.length; ) {
    const character = pattern.charAt(at);
    if (character === '*') {
      let end = at + 1;
      while (pattern.charAt(end) === '*') end++;
      const whole = (at === 0 || pattern.charAt(at - 1) === '/') && /^(?:$|\/|\\\/)/.test(pattern.slice(end, end + 2));
      if (end - at === 1 || !whole) tokens.push({ is: 'any', slashes: false });
      else if (pattern.charAt(end) === '/') {
        tokens.push({ is: 'directories' });
        end++;
      } else tokens.push({ is: 'any', slashes: true });
      at = end;
    } else if (character === '?') {
      tokens.push({ is: 'byte', among: (byte) => byte !== slash });
      at++;
    } else if (character === '[') {
      const set = readSet(pattern, at + 1);
      if (!set) return undefined;
      tokens.push({ is: 'byte', among: set.among });
      at = set.end;
    } else {
      const escaped = character === '\\' ? 1 : 0;
      if (at + escaped >= pattern.length) return undefined;
      const code = pattern.charCodeAt(at + escaped);
      tokens.push({ is: 'byte', among: (byte) => byte === code });
      at += escaped + 1;
    }
  }
  return tokens;
}

/** A bracket expression, from behind its "[" to behind its "]". A "]" at the begin is one of the set. */
function readSet(pattern: string, from: number): { among: (byte: number) => boolean; end: number } | undefined {
  const members = new Set<number>();
  const negated = /[!^]/.test(pattern.charAt(from));
  let at = from + (negated ? 1 : 0);
  let before = -1;
  for (let first = true; first || pattern.charAt(at) !== ']'; first = false) {
    const class_ = pattern.startsWith('[:', at) ? readClass(pattern, at + 2) : undefined;
    if (class_ === 'malformed') return undefined;
    if (class_) {
      for (let byte = 0; byte < 128; byte++) if (class_.among(byte)) members.add(byte);
      at = class_.end;
      before = -1;
      continue;
    }
    const isRange = pattern.charAt(at) === '-' && before >= 0 && !/^\]?$/.test(pattern.charAt(at + 1));
    if (isRange) at++;
    if (pattern.charAt(at) === '\\') at++;
    if (at >= pattern.length) return undefined;
    const code = pattern.charCodeAt(at++);
    if (isRange) for (let byte = before; byte <= code; byte++) members.add(byte);
    else members.add(code);
    before = isRange ? -1 : code;
  }
  return { among: (byte) => byte !== slash && members.has(byte) !== negated, end: at + 1 };
}

/** What git's own ctype says of ASCII; no other byte is in a class. */
const classes: Readonly<Record<string, RegExp>> = {
  alnum: /[0-9A-Za-z]/,
  alpha: /[A-Za-z]/,
  blank: /[ \t]/,
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is meant
  cntrl: /[\x00-\x1f\x7f]/,
  digit: /[0-9]/,
  graph: /[!-~]/,
  lower: /[a-z]/,
  print: /[ -~]/,
  punct: /[!-/:-@[-`{-~]/,
  space: /[ \t\n\r]/,
  upper: /[A-Z]/,
  xdigit: /[0-9A-Fa-f]/,
};

/** A class such as "[:alpha:]", from behind its "[:"; undefined if what is there is not one but members of a set. */
function readClass(pattern: string, from: number) {
  const end = pattern.indexOf(']', from);
  if (end < 0) return 'malformed';
  if (end === from || pattern.charAt(end - 1) !== ':') return undefined;
  const name = pattern.slice(from, end - 1);
  const class_ = Object.hasOwn(classes, name) ? classes[name] : undefined;
  if (!class_) return 'malformed';
  return { among: (byte: number) => class_.test(String.fromCharCode(byte)), end: end + 1 };
}

/** Keeps, token by token, at which places of the text what follows may begin. */
function matches(tokens: readonly Token[], text: string): boolean {
  const length = text.length;
  let places = new Uint8Array(length + 1);
  places[0] = 1;
  for (const token of tokens) {
    const next = new Uint8Array(length + 1);
    let open = false;
    let some = false;
    for (let at = 0; at <= length; at++) {
      const here = places[at] === 1;
      const behind = at === 0 ? -1 : text.charCodeAt(at - 1);
      if (token.is === 'byte') {
        if (at > 0 && places[at - 1] === 1 && token.among(behind)) next[at] = 1;
      } else if (token.is === 'any') {
        open = here || (open && (token.slashes || behind !== slash));
        if (open) next[at] = 1;
      } else {
        if (here || (open && behind === slash)) next[at] = 1;
        open ||= here;
      }
      some ||= next[at] === 1;
    }
    if (!some) return false;
    places = next;
  }
  return places[length] === 1;
}
