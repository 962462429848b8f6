import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { create, fromJson, type JsonValue, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { type CreateJobRequest, CreateJobRequestSchema } from '../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { invalid, MemoirError, quote } from '../../domain/errors.js';
import { recursionLimit } from '../../domain/json.js';
import { checkNumbersAndNames } from './parameters.js';

/** A request of a file, and where it stands there. */
export type RequestLine = {
  /** From 1. */
  readonly number: number;
  readonly request: CreateJobRequest;
  /** Bytes that it takes in a call. */
  readonly bytes: number;
};

/** Most bytes of a file of requests that are read. */
const mostBytes = 256 * 1024 ** 2;

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** How many wrong lines are named. */
const named = 10;

const fieldsByName = new Map(
  CreateJobRequestSchema.fields.flatMap((field) => [
    [field.name, field.localName],
    [field.jsonName, field.localName],
  ]),
);

/**
 * The requests of a file of JSON lines, each the ProtoJSON of a CreateJobRequest; empty lines are passed over. What a line does not have
 * is that of `defaults`; a line that does not say is for find_or_create, unless it is nondeterministic.
 * @param file - "-" for standard input
 * @throws MemoirError INVALID_ARGUMENT naming the file, and its first wrong lines with what is wrong
 */
export async function requestLines(
  file: string,
  defaults: MessageInitShape<typeof CreateJobRequestSchema>,
): Promise<readonly RequestLine[]> {
  const source = file === '-' ? 'standard input' : quote(file);
  const lines: RequestLine[] = [];
  const wrong: string[] = [];
  let [number, bytes] = [0, 0];
  try {
    const input = file === '-' ? process.stdin : createReadStream(file);
    // Byte by byte, so that only line ends are such: the text has others that JSON allows in strings.
    input.setEncoding('latin1');
    for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
      number += 1;
      bytes += line.length;
      if (bytes > mostBytes) throw new Error(`more than ${mostBytes} bytes; split it`);
      try {
        const text = textOf(line);
        if (text.trim() === '') continue;
        const request = requestOf(text, defaults);
        lines.push({ number, request, bytes: toBinary(CreateJobRequestSchema, request).length });
      } catch (error) {
        wrong.push(`line ${number}: ${(error as Error).message}`);
      }
    }
  } catch (error) {
    throw invalid('requests', 'UNREADABLE_FILE', `--from ${source}: ${(error as Error).message}`);
  }
  if (wrong.length > 0) {
    const more = wrong.length > named ? `\n  and ${wrong.length - named} more` : '';
    const list = wrong.slice(0, named).map((line) => `\n  ${line}`);
    const count = wrong.length === 1 ? 'a line is' : `${wrong.length} lines are`;
    throw invalid(
      'requests',
      'BAD_LINES',
      `--from ${source}: ${count} wrong, and nothing was sent:${list.join('')}${more}`,
    );
  }
  if (lines.length === 0) throw invalid('requests', 'BAD_LINES', `--from ${source}: there is no request`);
  return lines;
}

/** The text of a line that was read byte by byte, without a byte order mark. What is not UTF-8 would silently become another text. */
function textOf(line: string): string {
  try {
    return utf8.decode(Buffer.from(line, 'latin1'));
  } catch {
    throw new Error('not UTF-8');
  }
}

function requestOf(text: string, defaults: MessageInitShape<typeof CreateJobRequestSchema>): CreateJobRequest {
  const json = parsed(text);
  const given = fromJson(CreateJobRequestSchema, json, { recursionLimit });
  const names = Object.keys(json).map((name) => fieldsByName.get(name) as keyof CreateJobRequest);
  const own = Object.fromEntries(names.map((name) => [name, given[name]]));
  const request = create(CreateJobRequestSchema, { ...defaults, ...own });
  // Those of the defaults are of their parameters.
  if (names.includes('scriptParameters') && !names.includes('inputs')) request.inputs = [];
  if (!names.includes('findOrCreate')) request.findOrCreate = defaults.findOrCreate ?? !request.nondeterministic;
  for (const name of ['repository', 'script'] as const) {
    if (request[name] === '')
      throw new MemoirError('INVALID_ARGUMENT', 'REQUIRED', `it has no ${name}, and --${name} is not given`);
  }
  return request;
}

function parsed(text: string): Record<string, JsonValue> {
  let json: JsonValue;
  try {
    json = JSON.parse(text) as JsonValue;
  } catch (error) {
    throw new Error(`not JSON: ${quote((error as Error).message)}`);
  }
  if (json === null || typeof json !== 'object' || Array.isArray(json)) {
    throw new Error(`a request is a JSON object, not ${quote(text.trim(), 40)}`);
  }
  checkNumbersAndNames(text, 'the request', 'requests');
  return json;
}
