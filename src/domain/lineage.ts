import { hash } from 'node:crypto';
import type { JsonObject, JsonValue } from '@bufbuild/protobuf';

/** Longest text that may be an output, in bytes of UTF-8, as CompleteJob accepts it. */
const longestOutput = 4_096;

/** Bytes of `addressKey`. */
const keyBytes = 12;

/**
 * Content addresses wherever they stand in a text: what Memoir's workers give, and portable data hashes as Arvados gives them.
 * Nothing can be a part of a longer word, so that no digest is seen in the middle of another.
 */
const addresses = /(?<![0-9A-Za-z])(?:sha256:[0-9a-f]{64}|[0-9a-f]{32}\+[0-9]{1,20})(?![0-9A-Za-z])/g;

/**
 * The texts of which each may be the output of a job that is taken by these parameters: every string among the values, however
 * deep, and every content address inside of one, as in `sha256:…/reads.fastq`. Names of members do not count. The addresses come
 * first.
 */
export function mentionsOf(parameters: JsonObject): ReadonlySet<string> {
  const whole = new Set<string>();
  const inside = new Set<string>();
  // A walk without recursion, so that no depth can exhaust the stack.
  const open: JsonValue[] = [parameters];
  for (let value = open.pop(); value !== undefined; value = open.pop()) {
    if (typeof value === 'string') {
      if (value !== '' && fits(value)) whole.add(value);
      if (value.length > 32) for (const [address] of value.matchAll(addresses)) inside.add(address);
    } else if (Array.isArray(value)) {
      for (const item of value) open.push(item);
    } else if (value !== null && typeof value === 'object') {
      for (const member of Object.values(value)) open.push(member);
    }
  }
  if (inside.size === 0) return whole;
  for (const text of whole) inside.add(text);
  return inside;
}

/** Under what an output, or a text that may be one, is kept in the index of lineage: the first 12 bytes of its SHA-256. */
export function addressKey(text: string): Buffer {
  return hash('sha256', text, 'buffer').subarray(0, keyBytes);
}

function fits(text: string): boolean {
  return text.length * 3 <= longestOutput || Buffer.byteLength(text) <= longestOutput;
}
