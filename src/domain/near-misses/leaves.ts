import { hash } from 'node:crypto';
import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import canonicalize from 'canonicalize';
import { pointerPart } from '../json.js';
import { remembering } from '../remembering.js';

/** Most leaves by which parameters are compared in the index; what has more is found by its script alone. */
export const mostLeaves = 64;

/** Bytes of a key. */
export const keyBytes = 8;

/** Texts of which the digest is kept at hand, since jobs of a script have most of them in common, and how long they are at most. */
const digestsKept = 10_000;
const longestKept = 200;

/** What parameters say, by JSON pointer (RFC 6901): each scalar, and each object or list that is empty, as RFC 8785 writes it. */
export type Leaves = ReadonlyMap<string, string>;

/** The leaves of parameters. Those without any have none. */
export function leavesOf(parameters: JsonObject): Leaves {
  const leaves = new Map<string, string>();
  // A walk without recursion, so that no depth can exhaust the stack.
  const open: [string, JsonValue][] = Object.entries(parameters).map(([name, value]) => [pointerPart(name), value]);
  for (let next = open.pop(); next; next = open.pop()) {
    const [pointer, value] = next;
    const members = value !== null && typeof value === 'object' ? Object.entries(value) : [];
    if (members.length === 0) leaves.set(pointer, canonicalize(value) as string);
    for (const [name, member] of members) open.push([pointer + pointerPart(name), member]);
  }
  return leaves;
}

/** Keys under which a job is found by others of its script. */
export type NearKeys = {
  /** That of every job of the script. */
  readonly script: Buffer;
  /** That of all its leaves, and those of all but one: two jobs that have one in common differ in one leaf. Empty where there are too many. */
  readonly near: readonly Buffer[];
};

/**
 * The keys of a job. That of a set of leaves is the exclusive or of a digest of each, and one of the script, so that all sets which lack one leaf are made in
 * one pass. (Neighbourhoods by deletion, as Mor and Fraenkel, "A hash code method for detecting and correcting spelling errors", 1982, have
 * them for words.) Whoever looks a key up compares what is found, since other sets may have the same.
 */
export function nearKeys(repository: string, script: string, leaves: Leaves): NearKeys {
  const keys = { script: digest(['script', repository, script]), near: [] };
  if (leaves.size > mostLeaves) return keys;
  const each = [...leaves].map((leaf) => digest(leaf));
  const all = each.reduce(xor, digest(['leaves', repository, script]));
  return { ...keys, near: [all, ...each.map((leaf) => xor(all, leaf))] };
}

function digest(texts: readonly string[]): Buffer {
  const text = JSON.stringify(texts);
  return text.length <= longestKept ? keptDigest(text) : digestOf(text);
}

const keptDigest = remembering(digestOf, digestsKept);

function digestOf(text: string): Buffer {
  return hash('sha256', text, 'buffer').subarray(0, keyBytes);
}

function xor(one: Buffer, other: Buffer): Buffer {
  const key = Buffer.allocUnsafe(keyBytes);
  for (let i = 0; i < keyBytes; i++) key[i] = (one[i] as number) ^ (other[i] as number);
  return key;
}
