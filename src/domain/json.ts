import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import { invalid, type MemoirError, quote } from './errors.js';

/**
 * Deepest nesting of messages that clients read: those of Java, C++, C# and Python refuse more, below the answer's own message.
 */
export const clientNesting = 100;

/**
 * How many messages of an answer a job's parameters stand below at most, their own Struct included: in a stream of events, the
 * recorded event, the event, and the Struct.
 */
export const parametersBelow = 3;

/** Messages that may be nested below the Struct of parameters, so that every client can read every answer that has them. */
const maxNesting = clientNesting - parametersBelow;

/**
 * Nesting of messages that decoders must allow, so that they accept what old logs hold: up to 128 levels of JSON, each of which
 * is up to three messages in its binary form.
 */
export const recursionLimit = 1_000;

/** What a value is nested in, in messages of its binary form: a member of a Struct is its entry and a Value, an item a Value. */
const memberNesting = 2;
const itemNesting = 1;

/**
 * Checks that a value has an RFC 8785 (JCS) form: numbers are finite, strings and member names are well-formed Unicode, and it is
 * nested no deeper than every client can read. Writes -0 as 0, as JCS does, so that all answers have the same. Walks without
 * recursion, so that no input can exhaust the stack.
 * @throws MemoirError INVALID_ARGUMENT for `field`, naming the place and the value
 */
export function checkCanonicalisable(field: string, root: JsonObject): void {
  // `nesting` is that of the Struct or list itself, not of its Value.
  const open: { value: JsonValue; path: Path | undefined; nesting: number }[] = [
    { value: root, path: undefined, nesting: 0 },
  ];
  for (let next = open.pop(); next; next = open.pop()) {
    const { value, path, nesting } = next;
    if (typeof value === 'string') {
      if (!value.isWellFormed()) throw unsuitable(field, path, `${quote(value)} holds a lone surrogate`);
    } else if (typeof value === 'number') {
      if (!Number.isFinite(value)) throw unsuitable(field, path, `${value} is not a JSON number`);
    } else if (value !== null && typeof value === 'object') {
      if (nesting > maxNesting) throw tooDeep(field, path);
      if (Array.isArray(value)) {
        if (value.length > 0 && nesting + itemNesting > maxNesting) throw tooDeep(field, path);
        for (const [i, item] of value.entries()) {
          if (Object.is(item, -0)) value[i] = 0;
          open.push({ value: item, path: { up: path, key: i }, nesting: nesting + itemNesting + 1 });
        }
      } else {
        for (const [key, member] of Object.entries(value)) {
          if (nesting + memberNesting > maxNesting) throw tooDeep(field, path);
          if (!key.isWellFormed()) throw unsuitable(field, path, `the name ${quote(key)} holds a lone surrogate`);
          if (Object.is(member, -0)) value[key] = 0;
          open.push({ value: member, path: { up: path, key }, nesting: nesting + memberNesting + 1 });
        }
      }
    } else if (typeof value !== 'boolean' && value !== null) {
      throw unsuitable(field, path, `${quote(String(value))} is not JSON`);
    }
  }
}

/** Whether parameters are nested deeper than every client can read. Those of logs of earlier versions may be. */
export function isTooDeep(parameters: JsonObject): boolean {
  return deeper(parameters, 0);
}

function deeper(value: JsonValue, nesting: number): boolean {
  if (value === null || typeof value !== 'object') return false;
  if (nesting > maxNesting) return true;
  if (Array.isArray(value)) {
    if (value.length > 0 && nesting + itemNesting > maxNesting) return true;
    return value.some((item) => deeper(item, nesting + itemNesting + 1));
  }
  for (const key in value) {
    if (nesting + memberNesting > maxNesting) return true;
    if (deeper(value[key] as JsonValue, nesting + memberNesting + 1)) return true;
  }
  return false;
}

function tooDeep(field: string, path: Path | undefined): MemoirError {
  const where = path === undefined ? field : `${field} at ${quote(pointer(path))}`;
  const message = `${where}: nested too deep: the job could not be read by clients that stop at ${clientNesting} nested messages, which is 32 objects, or 47 lists in one`;
  return invalid(field, 'NESTED_TOO_DEEP', message);
}

type Path = { readonly up: Path | undefined; readonly key: string | number };

function unsuitable(field: string, path: Path | undefined, what: string) {
  const where = path === undefined ? field : `${field} at ${quote(pointer(path))}`;
  return invalid(field, 'NOT_CANONICAL_JSON', `${where}: ${what}`);
}

/** The path as a JSON pointer (RFC 6901). */
function pointer(path: Path | undefined): string {
  const keys: string[] = [];
  for (let at = path; at; at = at.up) keys.unshift(pointerPart(String(at.key)));
  return keys.join('');
}

/** A name or index as a part of a JSON pointer (RFC 6901), with its "/". */
export const pointerPart = (key: string): string => `/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`;
