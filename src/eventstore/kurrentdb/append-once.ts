import {
  ANY,
  type AppendResult,
  type AppendStreamState,
  type JSONEventData,
  type JSONEventType,
  type KurrentDBClient,
  NO_STREAM,
} from '@kurrent/kurrentdb-client';
import { quote } from '../../domain/errors.js';
import { isPlainJson } from '../json-text.js';
import type { ExpectedRevision, NewEvent } from '../port.js';

/**
 * Appends under way at once by one client. All of them share one stream of requests, answered as they are done. It is one less than
 * the stream takes without waiting: writes that wait in the client when a connection breaks end the process by an unhandled
 * rejection.
 */
export const maxUnderWay = 15;

/** An append is always one request, for the same reason. The server's own limit is far below. */
const oneRequest = 64 * 1024 * 1024;

/** Events as the client wants them: parsed, for it writes the JSON itself. */
export type AppendData = JSONEventData<JSONEventType>[];

/** One attempt to append. Throws as the client does. */
export function appendOnce(
  client: KurrentDBClient,
  stream: string,
  expected: ExpectedRevision,
  data: AppendData,
): Promise<AppendResult> {
  return client.appendToStream(stream, data, {
    streamState: stateFrom(expected),
    batchAppendSize: oneRequest,
    requiresLeader: true,
  });
}

function stateFrom(expected: ExpectedRevision): AppendStreamState {
  if (expected === 'any') return ANY;
  if (expected === 'no_stream') return NO_STREAM;
  return BigInt(expected);
}

/**
 * The event as the client wants it.
 * @throws TypeError if it would not come back as it was given
 */
export function dataFrom({ id, type, data, metadata }: NewEvent): AppendData[number] {
  return {
    id,
    type,
    contentType: 'application/json',
    data: faithful(id, data) as JSONEventType['data'],
    metadata: faithful(id, metadata) as Record<string, unknown>,
  };
}

function faithful(id: string, text: string): unknown {
  if (isPlainJson(text)) return JSON.parse(text);
  throw new TypeError(
    `${quote(text)} of event ${id} is not JSON as JSON.stringify writes it, and would not come back so`,
  );
}
