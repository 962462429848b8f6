import { RE2JS } from 're2js';
import type { NoRefspec, TextSearch } from './text-search.js';

/** Tells whether a commit's message answers a search: the bytes of UTF-8, or of what else it is in. */
export type MessageTest = (message: Buffer | undefined) => boolean;

/** What stands for more than itself in a pattern, and what stands for bytes that are no UTF-8 in a text. */
const special = /[\\^$.[\]|()*+?{}\ufffd\ud800-\udfff]/;

/**
 * Compiles a search of `:/text` or `^{/text}`. The pattern is a POSIX extended regular expression over the whole message, where
 * `^` and `$` are its ends and `.` also takes line ends, as with git. It runs on RE2, whose time is linear in the text, so no
 * pattern is catastrophic. What POSIX leaves undefined, and what only backtracking can do, is refused.
 */
export function compileSearch({ pattern, negated }: TextSearch): MessageTest | NoRefspec {
  if (!special.test(pattern)) {
    // The bytes of a text are found in UTF-8 where the text is, and nowhere else.
    const bytes = Buffer.from(pattern);
    return (message) => negated !== (message?.includes(bytes) === true);
  }
  const translated = translate(pattern);
  if (typeof translated !== 'string') return translated;
  try {
    const expression = RE2JS.compile(translated, RE2JS.DOTALL);
    return (message) => negated !== (message !== undefined && expression.matcher(message.toString()).find());
  } catch (error) {
    const why = error instanceof Error ? error.message.replace(/^error parsing regexp: /, '') : String(error);
    return { problem: `has a malformed regular expression (${why})` };
  }
}

const problem = (what: string): NoRefspec => ({ problem: `has a regular expression with ${what}` });

/** From POSIX extended syntax, as glibc has it, to that of RE2. */
function translate(pattern: string): string | NoRefspec {
  let out = '';
  /** Whether something precedes that can be repeated. */
  let repeatable = false;
  let at = 0;
  while (at < pattern.length) {
    const c = pattern.charAt(at);
    const interval = /^\{(\d*)(,?)(\d*)\}/.exec(pattern.slice(at));
    if (c === '[') {
      const bracket = translateBracket(pattern, at);
      if ('problem' in bracket) return bracket;
      out += bracket.text;
      at = bracket.end;
      repeatable = true;
    } else if (c === '\\') {
      const next = pattern.charAt(at + 1);
      if (!/^[wWsSbB]$|^[^A-Za-z0-9<>'`\s]$/.test(next)) return problem(`the escape ${JSON.stringify(c + next)}`);
      out += c + next;
      at += 2;
      repeatable = !/[bB]/.test(next);
    } else if (c === '*' || c === '+' || c === '?' || c === '{') {
      if (!repeatable) return problem(`${JSON.stringify(c)} after nothing that it can repeat`);
      if (c === '{' && (!interval || (interval[1] === '' && interval[3] === '')))
        return problem('a malformed repetition');
      const [all = c, from = '', comma = '', to = ''] = c === '{' ? (interval ?? []) : [];
      out += c === '{' ? `{${from || '0'}${comma}${to}}` : c;
      at += all.length;
      repeatable = false;
    } else {
      out += c === '}' ? '\\}' : c;
      at += 1;
      repeatable = c !== '(' && c !== '|' && c !== '^' && c !== '$';
    }
  }
  return out;
}

function translateBracket(pattern: string, start: number): { text: string; end: number } | NoRefspec {
  let at = start + 1;
  let text = '[';
  if (pattern.charAt(at) === '^') {
    text += '^';
    at++;
  }
  for (let first = true; at < pattern.length; first = false) {
    const c = pattern.charAt(at);
    if (c === ']' && !first) return { text: `${text}]`, end: at + 1 };
    if (c === '[' && /[.=:]/.test(pattern.charAt(at + 1))) {
      const named = /^\[:[a-z]+:\]/.exec(pattern.slice(at))?.[0];
      if (!named) return problem('a collating or unknown class');
      text += named;
      at += named.length;
      continue;
    }
    const isRange = c === '-' && !first && pattern.charAt(at + 1) !== ']';
    text += isRange || /[A-Za-z0-9\s]|[^\0-\x7f]/.test(c) ? c : `\\${c}`;
    at++;
  }
  return problem('a bracket that is not closed');
}
