import { unquote } from '../c-quoted.js';
import { hasWildcard, wildmatch } from './wildmatch.js';

/** What a line says of an attribute: set, unset, unspecified again, or a value. */
export type AttributeState = true | false | undefined | string;

/** One attribute of a line. */
export type Assignment = { readonly name: string; readonly state: AttributeState };

/** A line that says something of paths. */
export type AttributeRule = {
  /** Whether it is of a path, given in bytes as latin1 relative to the file's directory. */
  readonly matches: (path: string, baseName: string) => boolean;
  readonly assignments: readonly Assignment[];
};

/** What a file of attributes says. */
export type AttributeFile = {
  readonly rules: readonly AttributeRule[];
  /** What names stand for that are set as attributes. */
  readonly macros: ReadonlyMap<string, readonly Assignment[]>;
};

/** Longest line that git takes, in bytes; longer ones are passed over. */
const longestLine = 2_048;

const macroMark = '[attr]';

const blanks = /[ \t\r\n]+/;

/**
 * Reads a `.gitattributes` as git does (gitattributes(5)): what it cannot take is passed over.
 * @param atRoot - whether it is the one at the root of the tree, where alone macros are defined
 */
export function readAttributeFile(content: Buffer, atRoot: boolean): AttributeFile {
  const rules: AttributeRule[] = [];
  const macros = new Map<string, readonly Assignment[]>();
  const text = content.toString('latin1');
  for (const line of text.split('\n')) {
    if (line.length >= longestLine) continue;
    const start = line.replace(/^[ \t\r]+/, '');
    if (start === '' || start.startsWith('#')) continue;
    const { name, rest } = splitLine(start);
    const assignments = assignmentsOf(rest);
    if (name.startsWith(macroMark) && name.length > macroMark.length) {
      const [macro = ''] = name
        .slice(macroMark.length)
        .replace(/^[ \t\r\n]+/, '')
        .split(blanks);
      if (atRoot && isAttributeName(macro) && assignments) macros.set(macro, assignments);
      continue;
    }
    const matches = patternOf(name);
    if (matches && assignments) rules.push({ matches, assignments });
  }
  return { rules, macros };
}

function splitLine(line: string): { name: string; rest: string } {
  const unquoted = unquote(line);
  if (unquoted) return unquoted;
  const end = line.search(blanks);
  return end < 0 ? { name: line, rest: '' } : { name: line.slice(0, end), rest: line.slice(end) };
}

/** Undefined for a pattern that means nothing here: a negative one, or one of directories alone. */
function patternOf(name: string): AttributeRule['matches'] | undefined {
  if (name.startsWith('!') || name.endsWith('/') || name === '') return undefined;
  if (!name.includes('/')) {
    const match = hasWildcard(name) ? wildmatch(name) : (text: string) => text === name;
    return (_path, baseName) => match(baseName);
  }
  const anchored = name.startsWith('/') ? name.slice(1) : name;
  return hasWildcard(anchored) ? wildmatch(anchored) : (path) => path === anchored;
}

/** Undefined, for the whole line, if one of the attributes has no valid name. */
function assignmentsOf(text: string): readonly Assignment[] | undefined {
  const assignments: Assignment[] = [];
  for (const token of text.split(blanks)) {
    if (token === '') continue;
    const sign = /^[-!]/.test(token) ? token.charAt(0) : '';
    const equals = token.indexOf('=');
    const name = token.slice(sign.length, equals < 0 ? undefined : equals);
    if (!isAttributeName(name)) return undefined;
    const plain = equals < 0 ? true : token.slice(equals + 1);
    assignments.push({ name, state: sign === '-' ? false : sign === '!' ? undefined : plain });
  }
  return assignments;
}

function isAttributeName(text: string): boolean {
  return /^[A-Za-z0-9_.][-A-Za-z0-9_.]*$/.test(text);
}
