import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { quote } from '../../../domain/errors.js';
import { isPlainJson } from '../../json-text.js';
import type { ExpectedRevision, NewEvent } from '../../port.js';
import { comesBackAsItIs } from '../recorded.js';

/** The events of an append, encoded. */
export type AppendData = Uint8Array;

const { LengthDelimited, Varint } = WireType;

/**
 * The events as `BatchAppendReq` has them (streams.proto), with what they say as it is.
 * @throws TypeError if they would not come back as they were given
 */
export function dataFrom(events: readonly NewEvent[]): AppendData {
  const writer = new BinaryWriter();
  for (const event of events) {
    const { id, type, data, metadata } = event;
    if (!comesBackAsItIs(event)) for (const text of [data, metadata]) checkPlain(id, text);
    writer.tag(3, LengthDelimited).fork();
    writer.tag(1, LengthDelimited).fork().tag(2, LengthDelimited).string(id).join();
    noteSystem(writer, 'type', type);
    noteSystem(writer, 'content-type', 'application/json');
    writer.tag(3, LengthDelimited).string(metadata).tag(4, LengthDelimited).string(data).join();
  }
  return writer.finish();
}

/** An entry of what the server keeps beside an event. */
function noteSystem(writer: BinaryWriter, key: string, value: string): void {
  writer.tag(2, LengthDelimited).fork();
  writer.tag(1, LengthDelimited).string(key).tag(2, LengthDelimited).string(value).join();
}

function checkPlain(id: string, text: string): void {
  if (isPlainJson(text)) return;
  throw new TypeError(
    `${quote(text)} of event ${id} is not JSON as JSON.stringify writes it, and would not come back so`,
  );
}

/** A whole `BatchAppendReq`: an append, told apart by a UUID, which the server is to give up after `deadline`, in milliseconds since 1970. */
export function appendRequest(
  correlation: string,
  stream: string,
  expected: ExpectedRevision,
  deadline: number,
  data: AppendData,
): Uint8Array {
  const writer = new BinaryWriter();
  writer.tag(1, LengthDelimited).fork().tag(2, LengthDelimited).string(correlation).join();
  writer.tag(2, LengthDelimited).fork();
  writer.tag(1, LengthDelimited).fork().tag(3, LengthDelimited).string(stream).join();
  if (expected === 'any') writer.tag(4, LengthDelimited).uint32(0);
  else if (expected === 'no_stream') writer.tag(3, LengthDelimited).uint32(0);
  else writer.tag(2, Varint).uint64(expected);
  writer.tag(6, LengthDelimited).fork();
  writer.tag(1, Varint).int64(Math.floor(deadline / 1_000));
  writer.tag(2, Varint).int32((deadline % 1_000) * 1_000_000);
  writer.join().join();
  return writer.raw(data).tag(4, Varint).bool(true).finish();
}
