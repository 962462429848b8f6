import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import { invalid, quote } from '../../domain/errors.js';
import { checkCanonicalisable } from '../../domain/json.js';

const field = 'script_parameters';

/**
 * The parameters that a JSON text holds. `source` names the text in errors: a file, or an option.
 * @throws MemoirError INVALID_ARGUMENT naming the source and the place: no JSON, no object, a name that is given twice, or a
 * number that a double cannot hold exactly, which would silently be another number
 */
export function parseParameters(text: string, source: string): JsonObject {
  const value = parseJson(text, source);
  if (value === null || typeof value !== 'object' || Array.isArray(value)) {
    throw invalid(field, 'BAD_PARAMETERS', `${source}: parameters are a JSON object, not ${quote(text.trim(), 40)}`);
  }
  checkCanonicalisable(field, value);
  return value;
}

/**
 * One parameter from `name=value`. The value is JSON if it can be read as JSON, and otherwise the text itself; a string that
 * looks like JSON is given in JSON's quotes.
 * @throws MemoirError INVALID_ARGUMENT: no name, or as `parseParameters`
 */
export function parseParameter(text: string): readonly [name: string, value: JsonValue] {
  const [name, given] = parted(text);
  return [name, isJson(given) ? parseJson(given, `-p ${quote(name)}`) : given];
}

/** What a parameter's value begins with that is a file or directory to be put. */
const putPrefix = '@put:';

/** The path of what is to be put for a parameter `name=@put:PATH`; undefined for any other. @throws as `parseParameter` */
export function putParameter(text: string): readonly [name: string, path: string] | undefined {
  const [name, given] = parted(text);
  return given.startsWith(putPrefix) ? [name, given.slice(putPrefix.length)] : undefined;
}

function parted(text: string): readonly [name: string, given: string] {
  const at = text.indexOf('=');
  if (at < 1) throw invalid(field, 'BAD_PARAMETERS', `-p ${quote(text)}: a parameter is given as name=value`);
  return [text.slice(0, at), text.slice(at + 1)];
}

/** Whether two numbers in JSON's spelling are the same number, however large. */
export function sameNumber(a: string, b: string): boolean {
  const [x, y] = [decimal(a), decimal(b)];
  return x.digits === y.digits && (x.digits === '' || (x.exponent === y.exponent && x.negative === y.negative));
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function parseJson(text: string, source: string): JsonValue {
  let value: JsonValue;
  try {
    value = JSON.parse(text) as JsonValue;
  } catch (error) {
    throw invalid(field, 'BAD_PARAMETERS', `${source}: ${printableReason(error)}`);
  }
  checkNumbersAndNames(text, source, field);
  return value;
}

function printableReason(error: unknown): string {
  return `not JSON: ${quote((error as Error).message)}`;
}

/**
 * Checks, of a text that JSON.parse accepts, what it passes over in silence: names given twice, of which it drops one, and
 * numbers that it rounds.
 * @throws MemoirError INVALID_ARGUMENT of the field, naming the source and the place
 */
export function checkNumbersAndNames(text: string, source: string, field: string): void {
  const token = /"|-?[0-9][0-9.eE+-]*|[[\]{},:]/g;
  const open: ({ readonly names: Set<string>; key: string } | { index: number })[] = [];
  let string = '';
  const place = () => open.map((at) => `/${'names' in at ? at.key : at.index}`).join('');
  for (let match = token.exec(text); match; match = token.exec(text)) {
    const [found] = match;
    const at = open.at(-1);
    if (found === '{') open.push({ names: new Set(), key: '' });
    else if (found === '[') open.push({ index: 0 });
    else if (found === '}' || found === ']') open.pop();
    else if (found === ',') {
      if (at && 'index' in at) at.index += 1;
    } else if (found === ':') {
      if (!at || !('names' in at)) continue;
      at.key = JSON.parse(string) as string;
      if (at.names.has(at.key)) {
        throw invalid(field, 'BAD_PARAMETERS', `${source}: the name ${quote(place())} is given twice`);
      }
      at.names.add(at.key);
    } else if (found === '"') {
      const end = endOfString(text, match.index);
      string = text.slice(match.index, end);
      token.lastIndex = end;
    } else if (!sameNumber(found, String(Number(found)))) {
      throw invalid(
        field,
        'INEXACT_NUMBER',
        `${source}: the number ${quote(found, 60)}${open.length > 0 ? ` at ${quote(place())}` : ''} cannot be held exactly (it would become ${Number(found)}); give it as a string`,
      );
    }
  }
}

/** Where the string that begins at `from` ends. (A regular expression for it takes more stack the longer the string is.) */
function endOfString(text: string, from: number): number {
  let at = from + 1;
  while (at < text.length && text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
  return at + 1;
}

/** The number as digits without zeros at either end, times a power of ten. */
function decimal(text: string): { negative: boolean; digits: string; exponent: number } {
  const parts = /^(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?$/.exec(text);
  if (!parts) return { negative: false, digits: text, exponent: Number.NaN };
  const [, sign, whole = '', fraction = '', power = '0'] = parts;
  const trimmed = (whole + fraction).replace(/^0+/, '');
  const digits = trimmed.replace(/0+$/, '');
  return {
    negative: sign === '-',
    digits,
    exponent: Number(power) - fraction.length + (trimmed.length - digits.length),
  };
}
