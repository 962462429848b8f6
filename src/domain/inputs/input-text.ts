import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import { pointerPart } from '../json.js';

/** A text that may name content: an address, and a path where that is a tree. */
export type ContentText = {
  /** SHA-256, in 64 lower-case hexadecimal digits. */
  readonly hash: string;
  /** With "/" between its parts; empty for the whole. */
  readonly path: string;
};

/** Such a text among parameters, and where it stands there, as a JSON pointer (RFC 6901). */
export type MaybeInput = ContentText & { readonly pointer: string };

/** Longest path in a tree, in bytes of UTF-8. */
const longestPath = 3_072;

/** What a text names; undefined if it is not `sha256:<hash>` or `sha256:<hash>/<path>` with a path inside the tree, in its shortest form. */
export function contentText(text: string): ContentText | undefined {
  const [, hash, slash, path = ''] = /^sha256:([0-9a-f]{64})(?:(\/)(.*))?$/s.exec(text) ?? [];
  if (hash === undefined) return undefined;
  if (slash === undefined) return { hash, path: '' };
  if (path.includes('\0') || Buffer.byteLength(path) > longestPath) return undefined;
  return path.split('/').some((part) => part === '' || part === '.' || part === '..') ? undefined : { hash, path };
}

/** Every text among parameters, at any depth, that may name content, in their order. Walks without recursion, so that no depth exhausts the stack. */
export function maybeInputs(parameters: JsonObject): MaybeInput[] {
  const found: MaybeInput[] = [];
  const open: { readonly value: JsonValue; readonly at: Place | undefined }[] = [{ value: parameters, at: undefined }];
  for (let next = open.pop(); next; next = open.pop()) {
    const { value, at } = next;
    if (typeof value === 'string') {
      const named = value.startsWith('sha256:') ? contentText(value) : undefined;
      if (named) found.push({ ...named, pointer: pointerOf(at) });
    } else if (value !== null && typeof value === 'object') {
      const members = Object.entries(value);
      // The last one is taken first.
      for (const [key, member] of members.reverse()) open.push({ value: member as JsonValue, at: { up: at, key } });
    }
  }
  return found;
}

type Place = { readonly up: Place | undefined; readonly key: string };

function pointerOf(place: Place | undefined): string {
  const keys: string[] = [];
  for (let at = place; at; at = at.up) keys.unshift(pointerPart(at.key));
  return keys.join('');
}
