import { create, fromJson, type JsonValue } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import { type Filter, FilterSchema } from '../../../gen/memoir/jobs/v1/filter_pb.js';
import { invalid, quote } from '../errors.js';

/**
 * The filter that a list of attribute, operator and operand stands for, such as `["script", "=", "hash.py"]`. Whether the three
 * go together is not checked here.
 * @param field what the error names
 * @throws MemoirError INVALID_ARGUMENT if it is no such list
 */
export function filterFromTriple(triple: unknown, field = 'filter'): Filter {
  if (!Array.isArray(triple) || triple.length !== 3) throw noTriple(field, JSON.stringify(triple) ?? String(triple));
  const [attribute, operator, operand] = triple as [unknown, unknown, JsonValue];
  if (typeof attribute !== 'string' || typeof operator !== 'string' || operand === undefined) {
    throw noTriple(field, JSON.stringify(triple));
  }
  return create(FilterSchema, { attribute, operator, operand: fromJson(ValueSchema, operand) });
}

/**
 * The filters that a JSON text stands for: one triple, or a list of triples.
 * @param field what the error names
 * @throws MemoirError INVALID_ARGUMENT if it is neither
 */
export function filtersFromText(text: string, field = 'filter'): Filter[] {
  const value = parsed(text);
  if (!Array.isArray(value)) throw noTriple(field, text);
  const several = value.every((member) => Array.isArray(member));
  return several
    ? (value as unknown[]).map((triple) => filterFromTriple(triple, field))
    : [filterFromTriple(value, field)];
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function noTriple(field: string, text: string) {
  const why = `${field} ${quote(text)} is not a JSON list of attribute, operator and operand such as ["script","=","hash.py"]`;
  return invalid(field, 'BAD_FILTER', why);
}
