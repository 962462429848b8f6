import { isHex } from '../hash.js';
import { isRefName } from '../ref-name.js';
import { compileSearch } from './message-pattern.js';
import type { NoRefspec, TextSearch } from './text-search.js';

/** One suffix of a refspec. */
export type Step =
  /** `~n`: n times the first parent. */
  | { readonly kind: 'ancestor'; readonly generations: number }
  /** `^n`: the n-th parent; the commit itself for 0. */
  | { readonly kind: 'parent'; readonly number: number }
  /** `^{}`, `^{commit}`, `^{object}` and `^{tag}`. */
  | { readonly kind: 'peel'; readonly to: 'unpeelable' | 'commit' | 'object' | 'tag' }
  /** `^{/text}`: the youngest commit, from this one on, with that message. */
  | { readonly kind: 'search'; readonly search: TextSearch };

/** What a refspec begins with. */
export type Base =
  | { readonly kind: 'name'; readonly name: string }
  /** `:/text`: the youngest commit that any ref reaches with that message. */
  | { readonly kind: 'search'; readonly search: TextSearch };

/** A refspec taken apart. */
export type Refspec = { readonly base: Base; readonly steps: readonly Step[] };

/** Most characters of a refspec. */
export const longestRefspec = 1024;

/** More than this, and git's own counter overflows. */
const largestNumber = 2 ** 31 - 1;

/**
 * Takes a refspec apart by the grammar of gitrevisions(7), from the right as git does; of it, what names one commit and does
 * not depend on a local clone.
 */
export function parseRefspec(text: string): Refspec | NoRefspec {
  const problem = hostile(text);
  if (problem) return { problem };
  if (text.startsWith(':/')) {
    if (text.length === 2) return { problem: 'has no text to search for' };
    const search = parseSearch(text.slice(2));
    return 'problem' in search ? search : { base: { kind: 'search', search }, steps: [] };
  }
  const steps: Step[] = [];
  let rest = text;
  for (;;) {
    const suffix = lastSuffix(rest);
    if (!suffix) break;
    if ('problem' in suffix) return suffix;
    steps.push(suffix.step);
    rest = rest.slice(0, suffix.start);
  }
  const wrong = wrongName(rest);
  if (wrong) return { problem: wrong };
  return { base: { kind: 'name', name: rest === '@' ? 'HEAD' : rest }, steps: steps.reverse() };
}

function hostile(text: string): string | undefined {
  if (text === '') return 'is empty';
  if (text.length > longestRefspec) return `has more than ${longestRefspec} characters`;
  if (!text.isWellFormed()) return 'is not well-formed Unicode';
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
  if (/[\u0000-\u001f\u007f]/.test(text)) return 'has a control character';
  if (text.startsWith('-')) return 'begins like an option';
  return undefined;
}

type Suffix = { readonly step: Step; readonly start: number } | NoRefspec | undefined;

function lastSuffix(text: string): Suffix {
  const counted = /[~^]([0-9]*)$/.exec(text);
  if (counted) {
    const [all, digits = ''] = counted;
    const number = digits === '' ? 1 : Number(digits);
    if (number > largestNumber) return { problem: 'counts too far' };
    const start = text.length - all.length;
    return {
      start,
      step: all.startsWith('~') ? { kind: 'ancestor', generations: number } : { kind: 'parent', number },
    };
  }
  if (!text.endsWith('}')) return undefined;
  const start = text.lastIndexOf('^{');
  if (start < 0) return undefined;
  const inner = text.slice(start + 2, -1);
  if (inner.startsWith('/')) {
    // As git has it, an empty pattern ends at the first brace, and what is behind that means nothing.
    if (inner.length === 1 || inner.charAt(1) === '}') return { start, step: { kind: 'peel', to: 'commit' } };
    const search = parseSearch(inner.slice(1));
    return 'problem' in search ? search : { start, step: { kind: 'search', search } };
  }
  if (inner === '') return { start, step: { kind: 'peel', to: 'unpeelable' } };
  if (inner === 'commit' || inner === 'object' || inner === 'tag') return { start, step: { kind: 'peel', to: inner } };
  if (inner === 'tree' || inner === 'blob') return { problem: `names a ${inner}, not a commit` };
  return { problem: `has the unknown suffix ^{${inner}}` };
}

function parseSearch(text: string): TextSearch | NoRefspec {
  const search = parseNegation(text);
  if ('problem' in search) return search;
  const compiled = compileSearch(search);
  return 'problem' in compiled ? compiled : search;
}

function parseNegation(text: string): TextSearch | NoRefspec {
  if (!text.startsWith('!')) return { pattern: text, negated: false };
  if (text.startsWith('!!')) return { pattern: text.slice(1), negated: false };
  if (text.startsWith('!-')) return { pattern: text.slice(2), negated: true };
  return { problem: 'searches for a text that begins with "!"; write "!!" for it, or "!-" to negate' };
}

function wrongName(name: string): string | undefined {
  if (name === '') return 'has a suffix but no name before it, or names several commits';
  if (name === '@' || isHex(name) || isRefName(name)) return undefined;
  if (name.includes('@{')) return 'depends on the reflog or the configuration of a local clone';
  if (name.includes('..') && !name.includes('/')) return 'names a range of commits, not one';
  if (name.startsWith(':')) return 'names a file in the index, not a commit';
  if (name.includes(':')) return 'names a file, not a commit';
  if (name.endsWith('^@') || name.endsWith('^!') || /\^-[0-9]*$/.test(name)) return 'names several commits, not one';
  return 'is not a refspec that git allows';
}
