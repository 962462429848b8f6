import { quote } from '../../domain/errors.js';
import { isUuid, streamPrefixes } from '../../domain/streams.js';
import { isPlainJson } from '../json-text.js';
import type { Position, RecordedEvent } from '../port.js';

// The lines of a log in a file, as docs/export.md tells them: a header, one line an event, a trailer.

/** Version of the format that is written, and the only one that is read. */
const version = 1;

/** Most bytes of a line with its end. */
export const maxLine = 32 * 1024 * 1024;

/** The kinds of store that a log can come from. */
export const storeKinds = ['sqlite', 'kurrentdb'] as const;

/** A kind of store. */
export type StoreKind = (typeof storeKinds)[number];

/** What the first line says. */
export type ExportHeader = {
  readonly store: StoreKind;
  /** Version of Memoir that wrote the file. */
  readonly serverVersion: string;
  /** RFC 3339. */
  readonly exportedAt: string;
};

/** What the last line says. */
export type ExportTrailer = {
  readonly events: number;
  /** Position of the last event; 0 if there is none. */
  readonly lastPosition: Position;
  /** Root of the tree over the events (src/domain/log-tree), in base64. */
  readonly root: string;
  /** SHA-256 of everything before the trailer, in hexadecimal. */
  readonly sha256: string;
};

/** A line of the file is not what it must be. The message says why, and does not name the line. */
export class BadLine extends Error {}

/** The first line, without its end. */
export function headerLine({ store, serverVersion, exportedAt }: ExportHeader): string {
  return JSON.stringify({ memoir_log: version, store, server_version: serverVersion, exported_at: exportedAt });
}

/**
 * The line of an event, without its end. The texts of metadata and data stand in it as they are, so that other tools read them as
 * JSON; a text that a parser would not give back letter by letter stands in it as a string, under another name.
 */
export function eventLine({ position, stream, revision, id, type, recordedAt, metadata, data }: RecordedEvent): string {
  const head =
    `{"position":${position},"stream":${JSON.stringify(stream)},"revision":${revision},"id":${JSON.stringify(id)},` +
    `"type":${JSON.stringify(type)},"recorded_at":${recordedAt}`;
  return `${head},${member('metadata', metadata)},${member('data', data)}}`;
}

function member(name: string, text: string): string {
  return isPlainJson(text) ? `"${name}":${text}` : `"${name}_text":${JSON.stringify(text)}`;
}

/** The last line, without its end. */
export function trailerLine({ events, lastPosition, root, sha256 }: ExportTrailer): string {
  return JSON.stringify({ events, last_position: lastPosition, root, sha256 });
}

/** What the first line says. @throws BadLine */
export function headerFrom(line: string): ExportHeader {
  // What is no export may be anything, and is not to be shown.
  const { memoir_log, store, server_version, exported_at } = objectFrom(line, 'this is no export of a Memoir log');
  if (memoir_log === undefined) throw new BadLine('this is no export of a Memoir log');
  if (memoir_log !== version) {
    throw new BadLine(`the file has format ${shown(memoir_log)}, and this version of Memoir reads format ${version}`);
  }
  const kind = storeKinds.find((one) => one === store);
  if (kind === undefined) throw new BadLine(`store is ${shown(store)}, not one of ${storeKinds.join(', ')}`);
  checkText('server_version', server_version, 100);
  checkText('exported_at', exported_at, 100);
  return { store: kind, serverVersion: server_version, exportedAt: exported_at };
}

/** What any other line says: an event, or the trailer. @throws BadLine */
export function lineFrom(line: string): { readonly event: RecordedEvent } | { readonly trailer: ExportTrailer } {
  const members = objectFrom(line, 'it is not a JSON object');
  return Object.hasOwn(members, 'events') ? { trailer: trailerFrom(members) } : { event: eventFrom(members) };
}

type Members = Readonly<Record<string, unknown>>;

function objectFrom(line: string, otherwise: string): Members {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new BadLine(otherwise);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new BadLine(otherwise);
  return value as Members;
}

const trailerMembers = new Set(['events', 'last_position', 'root', 'sha256']);

function trailerFrom(members: Members): ExportTrailer {
  refuseOthers(members, trailerMembers);
  const { events, last_position, root, sha256 } = members;
  if (typeof root !== 'string' || !/^[A-Za-z0-9+/]{43}=$/.test(root)) throw new BadLine(`root is ${shown(root)}`);
  if (typeof sha256 !== 'string' || !/^[0-9a-f]{64}$/.test(sha256)) throw new BadLine(`sha256 is ${shown(sha256)}`);
  checkInteger('events', events, 0);
  checkInteger('last_position', last_position, 0);
  return { events, lastPosition: last_position, root, sha256 };
}

const eventMembers = new Set([
  'position',
  'stream',
  'revision',
  'id',
  'type',
  'recorded_at',
  'metadata',
  'metadata_text',
  'data',
  'data_text',
]);

/** Longest name of a stream, and of a type, in characters. */
const maxName = 1_024;

/** The latest and, negated, the earliest time that a Date can be, in milliseconds. */
const maxTime = 8_640_000_000_000_000;

function eventFrom(members: Members): RecordedEvent {
  refuseOthers(members, eventMembers);
  const { position, stream, revision, id, type, recorded_at: recordedAt } = members;
  const metadata = contentFrom(members, 'metadata');
  const data = contentFrom(members, 'data');
  const event = { position, stream, revision, id, type, recordedAt, metadata, data } as RecordedEvent;
  checkEvent(event);
  return event;
}

function checkEvent({ position, stream, revision, id, type, recordedAt, metadata, data }: RecordedEvent): void {
  checkInteger('position', position, 1);
  checkText('stream', stream, maxName);
  if (stream.includes('\0') || !streamPrefixes.some((prefix) => stream.startsWith(prefix))) {
    throw new BadLine(`stream ${quote(stream)} is none of Memoir, whose names begin with ${streamPrefixes.join(', ')}`);
  }
  checkInteger('revision', revision, 0);
  checkText('id', id, maxName);
  if (!isUuid(id)) throw new BadLine(`id ${quote(id)} is no UUID in lower case`);
  checkText('type', type, maxName);
  if (!/^[A-Z][A-Za-z0-9]*$/.test(type)) throw new BadLine(`type ${quote(type)} is no name of a message`);
  checkInteger('recorded_at', recordedAt, -maxTime, maxTime);
  if (!metadata.isWellFormed()) throw new BadLine('metadata_text is not well-formed Unicode');
  if (!data.isWellFormed()) throw new BadLine('data_text is not well-formed Unicode');
}

/**
 * Checks that an event, and the line that is made of it, are read again.
 * @throws BadLine, as reading the line would
 */
export function checkExportable(event: RecordedEvent, line: string): void {
  checkEvent(event);
  if (Buffer.byteLength(line) >= maxLine) throw new BadLine(tooLong);
}

/** Why a line is refused that is too long. */
export const tooLong = `it is longer than ${maxLine} bytes`;

function refuseOthers(members: Members, known: ReadonlySet<string>): void {
  for (const name in members) {
    if (!known.has(name) && members[name] !== undefined) throw new BadLine(`it has the unknown member ${quote(name)}`);
  }
}

function contentFrom(members: Members, name: 'metadata' | 'data'): string {
  const value = members[name];
  const text = members[`${name}_text`];
  if ((value === undefined) === (text === undefined)) throw new BadLine(`it must have either ${name} or ${name}_text`);
  if (value === undefined) {
    if (typeof text === 'string') return text;
    throw new BadLine(`${name}_text is ${shown(text)}, not text`);
  }
  try {
    return JSON.stringify(value);
  } catch {
    throw new BadLine(`${name} is nested too deep`);
  }
}

function checkText(name: string, value: unknown, longest: number): asserts value is string {
  if (typeof value === 'string' && value !== '' && value.length <= longest && value.isWellFormed()) return;
  throw new BadLine(`${name} is ${shown(value)}, not well-formed text of 1 to ${longest} characters`);
}

function checkInteger(
  name: string,
  value: unknown,
  least: number,
  most = Number.MAX_SAFE_INTEGER,
): asserts value is number {
  const whole = Number.isSafeInteger(value) && !Object.is(value, -0);
  if (whole && (value as number) >= least && (value as number) <= most) return;
  throw new BadLine(`${name} is ${shown(value)}, not a whole number from ${least} to ${most}`);
}

function shown(value: unknown): string {
  if (value === undefined) return 'missing';
  if (typeof value === 'string') return quote(value);
  return typeof value === 'object' && value !== null ? 'an object or array' : String(value);
}
