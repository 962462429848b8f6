import { invalid, quote } from '../errors.js';
import { jobFields, type ScalarKind } from './field.js';

/** One key of an order of jobs. Absent values are the smallest. */
export type OrderKey = { readonly field: string; readonly kind: ScalarKind; readonly descending: boolean };

/** The order of a list: by the first key, then the next. Jobs that are equal in all stand by age, as the last key is directed. */
export type JobOrder = readonly [OrderKey, ...OrderKey[]];

/** Most keys of an order. */
const mostKeys = 8;

/** Newest first. */
export const newestFirst: JobOrder = [{ field: 'created_at', kind: 'time', descending: true }];

/**
 * Reads an order such as "priority desc, created_at"; an empty text means newest first.
 * @throws MemoirError INVALID_ARGUMENT for `order_by` naming the part that is wrong
 */
export function parseOrder(text: string): JobOrder {
  if (text.trim() === '') return newestFirst;
  const parts = text.split(',', mostKeys + 1);
  if (parts.length > mostKeys) throw wrong(text, `has more than ${mostKeys} keys`);
  const [first, ...others] = parts.map((part) => parseKey(text, part));
  const keys: JobOrder = [first as OrderKey, ...others];
  const twice = keys.find(({ field }, i) => keys.findIndex((key) => key.field === field) < i);
  if (twice) throw wrong(text, `names ${twice.field} twice`);
  return keys;
}

function parseKey(text: string, part: string): OrderKey {
  const [name = '', direction = 'asc', ...rest] = part.trim().split(/\s+/);
  const field = jobFields.get(name);
  if (!field) throw wrong(text, `names ${quote(name)}, which is not a field of a job`);
  const { kind } = field;
  if (kind === 'tree' || kind === 'message') throw wrong(text, `names ${name}, which has parts and no order`);
  const lower = direction.toLowerCase();
  if ((lower !== 'asc' && lower !== 'desc') || rest.length > 0) {
    throw wrong(text, `has ${quote(part.trim())}, which is not a field with or without "asc" or "desc"`);
  }
  return { field: name, kind, descending: lower === 'desc' };
}

function wrong(text: string, why: string) {
  return invalid('order_by', 'BAD_ORDER', `order_by ${quote(text)} ${why}`);
}
