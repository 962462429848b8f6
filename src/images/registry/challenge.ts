/** What a registry asks for by a WWW-Authenticate header. */
export type Challenge = {
  /** In lower case, such as "bearer". */
  readonly scheme: string;
  /** By name in lower case. */
  readonly parameters: ReadonlyMap<string, string>;
};

// A scheme that is followed by its first parameter, or a further parameter (RFC 9110, 11.6.1); tokens are of RFC 9110, 5.6.2.
const token = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const piece = new RegExp(
  `\\s*(?:(${token})\\s+)?(${token})\\s*=\\s*(?:"((?:[^"\\\\]|\\\\.)*)"|(${token}))\\s*(?:,|$)`,
  'y',
);

/** Longest header that is read. */
const longest = 4_096;

/** The challenges of a WWW-Authenticate header that have parameters; none of what cannot be read and stands after that. */
export function challengesOf(header: string): readonly Challenge[] {
  const challenges: { scheme: string; parameters: Map<string, string> }[] = [];
  const text = header.slice(0, longest);
  piece.lastIndex = 0;
  for (let match = piece.exec(text); match; match = piece.exec(text)) {
    const [, scheme, name = '', quoted, plain = ''] = match;
    if (scheme !== undefined) challenges.push({ scheme: scheme.toLowerCase(), parameters: new Map() });
    challenges.at(-1)?.parameters.set(name.toLowerCase(), quoted?.replace(/\\(.)/g, '$1') ?? plain);
  }
  return challenges;
}
