import type { DescField, DescMessage, JsonValue, Message } from '@bufbuild/protobuf';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { invalid, type MemoirError, quote } from '../../domain/errors.js';
import { pointerPart } from '../../domain/json.js';

/** What a field may lead to: JSON in its binary form, or a message that may hold some. */
type Lead = { readonly name: string; readonly field: DescField; readonly to: 'Struct' | 'ListValue' | 'Value' | Leads };
type Leads = ReadonlyMap<number, Lead>;

const known = new Map<DescMessage, Leads>();

/**
 * Looks for a google.protobuf.Value without a value, which struct.proto calls an error, and which is null once it is decoded: JSON
 * that its sender did not mean. `bytes` is a message of the schema that was decoded without an error, to `message`.
 * @throws MemoirError INVALID_ARGUMENT naming the place of such a Value; Error if the bytes are malformed where a decoder lets it pass
 */
export function checkUnset(schema: DescMessage, bytes: Uint8Array, message: Message): void {
  const leads = leadsOf(schema);
  if (leads.size === 0 || !holdsNull(leads, message)) return;
  const found = inMessage(leads, new BinaryReader(bytes), bytes.length, '');
  if (found) throw found;
}

/** Whether a Value without a value may be in a message: in what was decoded to JSON it would be null now, which few requests hold. */
function holdsNull(leads: Leads, message: Message): boolean {
  for (const { field, to } of leads.values()) {
    const value = (message as unknown as Readonly<Record<string, unknown>>)[field.localName];
    if (value === undefined || (Array.isArray(value) && value.length === 0)) continue;
    if (to !== 'Struct' || field.fieldKind !== 'message' || isNullIn(value as JsonValue)) return true;
  }
  return false;
}

function isNullIn(value: JsonValue): boolean {
  if (value === null) return true;
  if (typeof value !== 'object') return false;
  if (Array.isArray(value)) return value.some(isNullIn);
  for (const key in value) if (isNullIn(value[key] as JsonValue)) return true;
  return false;
}

function leadsOf(schema: DescMessage): Leads {
  const before = known.get(schema);
  if (before) return before;
  const leads = new Map<number, Lead>();
  known.set(schema, leads);
  for (const field of schema.fields) {
    const message = messageOf(field);
    if (!message) continue;
    const json = /^google\.protobuf\.(Struct|ListValue|Value)$/.exec(message.typeName)?.[1];
    const to = (json as 'Struct' | 'ListValue' | 'Value' | undefined) ?? leadsOf(message);
    if (typeof to === 'string' || to.size > 0) leads.set(field.number, { name: field.name, field, to });
  }
  return leads;
}

/** The message that a field holds, one or many; entries of maps lead nowhere in any request. */
function messageOf(field: DescField): DescMessage | undefined {
  return field.fieldKind === 'message' || (field.fieldKind === 'list' && field.listKind === 'message')
    ? field.message
    : undefined;
}

function inMessage(leads: Leads, reader: BinaryReader, end: number, within: string): MemoirError | undefined {
  while (reader.pos < end) {
    const [number, type] = reader.tag();
    const lead = leads.get(number);
    if (!lead) {
      reader.skip(type, number);
      continue;
    }
    checkLengthDelimited(type, number);
    const stop = reader.uint32() + reader.pos;
    const field = within + lead.name;
    if (typeof lead.to !== 'string') {
      const found = inMessage(lead.to, reader, stop, `${field}.`);
      if (found) return found;
      continue;
    }
    const path = inside(lead.to, reader, stop);
    // Who reads a field that is a Value itself says what it must be.
    if (path !== undefined && !(lead.to === 'Value' && path === '')) {
      const where = path === '' ? field : `${field} at ${quote(path)}`;
      return invalid(
        field,
        'UNSET_VALUE',
        `${where}: a google.protobuf.Value without a value; for null, set null_value`,
      );
    }
  }
  return undefined;
}

/** The JSON pointer of a Value without a value in what ends at `end`; undefined if there is none. */
function inside(kind: 'Struct' | 'ListValue' | 'Value', reader: BinaryReader, end: number): string | undefined {
  if (kind === 'Value') return inValue(reader, end);
  for (let index = 0; reader.pos < end; ) {
    const [number, type] = reader.tag();
    if (number !== 1) {
      reader.skip(type, number);
      continue;
    }
    checkLengthDelimited(type, number);
    const stop = reader.uint32() + reader.pos;
    if (kind === 'Struct') {
      const path = inEntry(reader, stop);
      if (path !== undefined) return path;
    } else {
      const path = inValue(reader, stop);
      if (path !== undefined) return `/${index}${path}`;
      index++;
    }
  }
  return undefined;
}

function inEntry(reader: BinaryReader, end: number): string | undefined {
  let name = '';
  let path: string | undefined = '';
  while (reader.pos < end) {
    const [number, type] = reader.tag();
    if (number === 1 || number === 2) checkLengthDelimited(type, number);
    if (number === 1) name = reader.string();
    else if (number === 2) path = inValue(reader, reader.uint32() + reader.pos);
    else reader.skip(type, number);
  }
  return path === undefined ? undefined : pointerPart(name) + path;
}

function inValue(reader: BinaryReader, end: number): string | undefined {
  let set = false;
  let path: string | undefined;
  while (reader.pos < end) {
    const [number, type] = reader.tag();
    if (number >= 1 && number <= 6) set = true;
    if (number === 5 || number === 6) {
      checkLengthDelimited(type, number);
      path = inside(number === 5 ? 'Struct' : 'ListValue', reader, reader.uint32() + reader.pos);
    } else reader.skip(type, number);
  }
  return set ? path : '';
}

function checkLengthDelimited(type: WireType, number: number): void {
  if (type !== WireType.LengthDelimited) throw new Error(`field ${number} is of wire type ${type}`);
}
