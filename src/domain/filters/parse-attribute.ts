import { invalid, quote } from '../errors.js';
import { type JobField, jobFields } from './field.js';
import type { Target } from './filter.js';

/** Deepest path of a filter. */
const deepest = 32;

/** Longest attribute, in UTF-16 code units. */
const longest = 4_096;

/**
 * Reads an attribute: a field's name, a path into one that has parts, or "any". A part of a path with anything but letters,
 * digits, "_" and "-" in it is written as a JSON string: `script_parameters."min.length"`.
 * @throws MemoirError INVALID_ARGUMENT for `<place>.attribute`
 */
export function parseAttribute(place: string, attribute: string): Target {
  const wrong = (why: string) =>
    invalid(`${place}.attribute`, 'BAD_FILTER_ATTRIBUTE', `${place}: attribute ${quote(attribute)} ${why}`);
  if (attribute.length > longest) throw wrong(`is longer than ${longest} characters`);
  if (attribute === 'any') return { of: 'any' };
  const dot = attribute.indexOf('.');
  const name = dot < 0 ? attribute : attribute.slice(0, dot);
  const field = jobFields.get(name);
  if (!field) throw wrong('is not a field of a job');
  const path = dot < 0 ? [] : parsePath(attribute.slice(dot + 1));
  if (!path) throw wrong('is not a path such as script_parameters.input or script_parameters."min.length"');
  if (path.length > deepest) throw wrong(`is more than ${deepest} parts deep`);
  return path.length === 0 ? whole(field) : part(field, path, wrong);
}

/** Fields whose parts have parts. */
const nested: ReadonlySet<string> = new Set(['script_parameters', 'unhashed_parameters']);

function whole({ name, kind, property }: JobField): Target {
  if (kind === 'tree' || kind === 'message') return { of: 'whole', field: name, property };
  return { of: 'field', field: name, property, kind };
}

function part(field: JobField, path: readonly string[], wrong: (why: string) => Error): Target {
  const { name, kind, property, members } = field;
  if (kind === 'tree') {
    if (!nested.has(name) && path.length > 1) {
      throw wrong(`is deeper than ${name} are: write ${name}."a.b" for that of the name "a.b"`);
    }
    return { of: 'path', field: name, property, path };
  }
  if (!members) throw wrong(`names a part of ${name}, which has none`);
  const member = members.get(path.join('.'));
  if (!member) throw wrong(`is not a part of ${name}; these are: ${[...members.keys()].join(', ')}`);
  const { kind: itsKind, zero, duration } = member;
  return { of: 'member', field: name, property, member: member.property, kind: itsKind, zero, duration };
}

const plainPart = /[\p{L}\p{M}\p{N}_-]+/uy;
const quotedPart = /"(?:[^"\\]|\\.)*"/suy;

function parsePath(text: string): string[] | undefined {
  const parts: string[] = [];
  for (let at = 0; ; at++) {
    const pattern = text[at] === '"' ? quotedPart : plainPart;
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0];
    if (found === undefined) return undefined;
    const name = found.startsWith('"') ? unquoted(found) : found;
    if (name === undefined) return undefined;
    parts.push(name);
    at += found.length;
    if (at === text.length) return parts;
    if (text[at] !== '.') return undefined;
  }
}

function unquoted(text: string): string | undefined {
  try {
    return JSON.parse(text) as string;
  } catch {
    return undefined;
  }
}
