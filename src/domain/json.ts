import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import { invalid, quote } from './errors.js';

/** Deepest nesting of arrays and objects that is accepted. */
export const maxDepth = 128;

/**
 * Nesting of messages that decoders must allow, so that they accept what is `maxDepth` deep: each level of a Struct is three
 * messages in its binary form, one in JSON.
 */
export const recursionLimit = 1_000;

/**
 * Checks that a value has an RFC 8785 (JCS) form: numbers are finite, strings and member names are well-formed Unicode, and
 * arrays and objects are at most `maxDepth` deep. Walks without recursion, so that no input can exhaust the stack.
 * @throws MemoirError INVALID_ARGUMENT for `field`, naming the place and the value
 */
export function checkCanonicalisable(field: string, root: JsonObject): void {
  const open: { value: JsonValue; path: Path | undefined; depth: number }[] = [
    { value: root, path: undefined, depth: 1 },
  ];
  for (let next = open.pop(); next; next = open.pop()) {
    const { value, path, depth } = next;
    if (typeof value === 'string') {
      if (!value.isWellFormed()) throw unsuitable(field, path, `${quote(value)} holds a lone surrogate`);
    } else if (typeof value === 'number') {
      if (!Number.isFinite(value)) throw unsuitable(field, path, `${value} is not a JSON number`);
    } else if (value !== null && typeof value === 'object') {
      if (depth > maxDepth) throw unsuitable(field, undefined, `it is nested more than ${maxDepth} levels deep`);
      if (Array.isArray(value)) {
        for (const [i, item] of value.entries())
          open.push({ value: item, path: { up: path, key: i }, depth: depth + 1 });
      } else {
        for (const [key, member] of Object.entries(value)) {
          if (!key.isWellFormed()) throw unsuitable(field, path, `the name ${quote(key)} holds a lone surrogate`);
          open.push({ value: member, path: { up: path, key }, depth: depth + 1 });
        }
      }
    } else if (typeof value !== 'boolean' && value !== null) {
      throw unsuitable(field, path, `${quote(String(value))} is not JSON`);
    }
  }
}

type Path = { readonly up: Path | undefined; readonly key: string | number };

function unsuitable(field: string, path: Path | undefined, what: string) {
  const where = path === undefined ? field : `${field} at ${quote(pointer(path))}`;
  return invalid(field, 'NOT_CANONICAL_JSON', `${where}: ${what}`);
}

/** The path as a JSON pointer (RFC 6901). */
function pointer(path: Path | undefined): string {
  const keys: string[] = [];
  for (let at = path; at; at = at.up) keys.unshift(String(at.key).replaceAll('~', '~0').replaceAll('/', '~1'));
  return keys.map((key) => `/${key}`).join('');
}
