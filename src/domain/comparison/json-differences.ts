import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import canonicalize from 'canonicalize';
import { compareText } from '../filters/compare-text.js';
import { pointerPart } from '../json.js';

/** Longest pointer that is made, in UTF-16 code units: of a longer one it is the beginning, and one unit more. */
export const longestPointer = 1_000;

/** A place at which two values differ: a JSON pointer (RFC 6901), and what each has there; undefined for nothing. */
export type JsonDifference = {
  readonly pointer: string;
  readonly a: JsonValue | undefined;
  readonly b: JsonValue | undefined;
};

/** The names and places that lead to a value, the last one first. */
type Path = { readonly up: Path | undefined; readonly key: string };

/**
 * Where two values differ, by the order of names and places: objects and lists are compared member by member, all else as RFC 8785 writes it. Undefined comes in
 * between, before each object and list, so that others may have their turn.
 */
export function* jsonDifferences(
  a: JsonValue | undefined,
  b: JsonValue | undefined,
  path?: Path,
): Generator<JsonDifference | undefined, void> {
  if (a === b) return;
  const [its, others] = [membersOf(a), membersOf(b)];
  if (!its || !others || Array.isArray(a) !== Array.isArray(b)) {
    const same = !its && !others && a !== undefined && b !== undefined && canonicalize(a) === canonicalize(b);
    if (!same) yield { pointer: pointerOf(path), a, b };
    return;
  }
  yield undefined;
  const names = [...new Set([...Object.keys(its), ...Object.keys(others)])];
  if (!Array.isArray(a)) names.sort(compareText);
  for (const key of names) yield* jsonDifferences(own(its, key), own(others, key), { up: path, key });
}

function membersOf(value: JsonValue | undefined): JsonObject | undefined {
  return value !== null && typeof value === 'object' ? (value as JsonObject) : undefined;
}

function own(members: JsonObject, name: string): JsonValue | undefined {
  return Object.hasOwn(members, name) ? members[name] : undefined;
}

/** The pointer, as far as it is made: names may be long, and the same for many differences. */
function pointerOf(path: Path | undefined): string {
  const keys: string[] = [];
  for (let at = path; at; at = at.up) keys.unshift(at.key.slice(0, longestPointer + 1));
  let pointer = '';
  for (const key of keys) {
    if (pointer.length > longestPointer) break;
    pointer += pointerPart(key);
  }
  return pointer.slice(0, longestPointer + 1);
}
