import type { Value } from '@bufbuild/protobuf/wkt';
import { quote } from '../errors.js';

/** An operand as it was given. */
export type Given = string | number | boolean | null | readonly Given[] | { readonly [name: string]: unknown };

/** The operand that a message holds; undefined if it holds none. */
export function givenOf(value: Value | undefined): Given | undefined {
  const kind = value?.kind;
  switch (kind?.case) {
    case 'nullValue':
      return null;
    case 'numberValue':
    case 'stringValue':
    case 'boolValue':
      return kind.value;
    case 'structValue':
      return kind.value;
    case 'listValue':
      return kind.value.values.map((member) => givenOf(member) ?? null);
    default:
      return undefined;
  }
}

/** The kind of an operand, for people: "a number". */
export function kindOfGiven(given: Given): string {
  if (given === null) return 'null';
  if (Array.isArray(given)) return 'a list';
  return typeof given === 'object' ? 'an object' : `a ${typeof given}`;
}

/** The operand for people, cut to a length that fits in a message. */
export function givenText(given: Given, limit = 200): string {
  if (typeof given === 'string') return quote(given, limit);
  if (Array.isArray(given)) return listText(given, limit);
  return typeof given === 'object' && given !== null ? 'an object' : String(given);
}

function listText(list: readonly Given[], limit: number): string {
  const shown: string[] = [];
  let left = limit;
  for (const member of list) {
    const text = Array.isArray(member) ? 'a list' : givenText(member, Math.max(left, 20));
    left -= text.length;
    if (left < 0 && shown.length > 0) break;
    shown.push(text);
  }
  const more = shown.length < list.length ? `, … (${list.length} in all)` : '';
  return `[${shown.join(', ')}${more}]`;
}
