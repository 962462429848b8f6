// Control and format characters (which hide text or turn its direction), lone surrogates, line and paragraph separators.
const unprintable = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

const short: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t', '\u001b': '\\e' };

/**
 * The text for one line of a terminal: what could move the cursor, change the terminal, hide or turn text stands as an escape,
 * so that text of others cannot pass for the program's own.
 */
export function printable(text: string): string {
  return text.replace(unprintable, escaped);
}

/** As `printable`, but line ends and tabs are kept: for text of several lines. */
export function printableLines(text: string): string {
  return text.replace(unprintable, (c) => (c === '\n' || c === '\t' ? c : escaped(c)));
}

function escaped(c: string): string {
  return short[c] ?? `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`;
}
