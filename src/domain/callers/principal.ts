/** Principals that nobody can prove to be: the server's own, and that of whom nothing is known. */
const reserved: readonly string[] = ['memoir', 'anonymous'];

/** Whether a text can be a principal: 1 to 256 printable ASCII characters without spaces, not all of them "?". */
export const isPrincipal = (text: string): boolean => /^[\x21-\x7e]{1,256}$/.test(text) && !/^\?+$/.test(text);

/** Whether no credential may give this principal. */
export const isReserved = (principal: string): boolean => reserved.includes(principal);

/** How principals are made of the names that a source gives: the text around them. */
export type Template = { readonly before: string; readonly after: string };

/** A template by its text, which has "{}" once, in the place of the name. */
export function parseTemplate(text: string): Template {
  const [before = '', after = ''] = text.split('{}');
  return { before, after };
}

/** The principal of a name. */
export const principalBy = ({ before, after }: Template, name: string): string => `${before}${name}${after}`;

/** Whether two templates can give the same principal: what is before the names fits, and what is behind them does. */
export function canMeet(one: Template, other: Template): boolean {
  const begins = (a: string, b: string) => a.startsWith(b) || b.startsWith(a);
  const ends = (a: string, b: string) => a.endsWith(b) || b.endsWith(a);
  return begins(one.before, other.before) && ends(one.after, other.after);
}
