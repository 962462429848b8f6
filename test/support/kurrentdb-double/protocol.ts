import { createRequire } from 'node:module';
import { Metadata, type ServiceError, status } from '@grpc/grpc-js';
import sharedPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/shared_pb.js';
import statusPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/status_pb.js';
import streamsPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/streams_pb.js';
import type { Expected, StoredRecord } from './log.js';

type PackedMessage = { serializeBinary(): Uint8Array };
type Any = { pack(bytes: Uint8Array, name: string): void } & PackedMessage;

const fromClient = createRequire(createRequire(import.meta.url).resolve('@kurrent/kurrentdb-client'));
const { Any: AnyMessage } = fromClient('google-protobuf/google/protobuf/any_pb.js') as { Any: new () => Any };
const { Empty: EmptyMessage } = fromClient('google-protobuf/google/protobuf/empty_pb.js') as {
  Empty: new () => PackedMessage;
};

/** The record as the answer of a read or a subscription. `structured` ids are two 64-bit numbers, others text. */
export function readResponse(record: StoredRecord, structured: boolean): Buffer {
  const recorded = new streamsPb.ReadResp.ReadEvent.RecordedEvent();
  const id = new sharedPb.UUID();
  if (structured) id.setStructured(structuredId(record.id));
  else id.setString(record.id);
  recorded.setId(id);
  recorded.setStreamIdentifier(streamIdentifier(record.stream));
  recorded.setStreamRevision(String(record.wireRevision ?? record.revision));
  recorded.setCommitPosition(String(record.position));
  recorded.setPreparePosition(String(record.position));
  recorded.getMetadataMap().set('type', record.type);
  recorded.getMetadataMap().set('content-type', record.contentType);
  recorded.getMetadataMap().set('created', String(record.created));
  recorded.setData(record.data);
  recorded.setCustomMetadata(record.metadata);
  const event = new streamsPb.ReadResp.ReadEvent();
  event.setEvent(recorded);
  event.setCommitPosition(String(record.position));
  const response = new streamsPb.ReadResp();
  response.setEvent(event);
  return Buffer.from(response.serializeBinary());
}

/** The id as two 64-bit numbers. */
export function structuredId(id: string) {
  const structured = new sharedPb.UUID.Structured();
  const bits = BigInt(`0x${id.replaceAll('-', '')}`);
  structured.setMostSignificantBits(String(BigInt.asIntN(64, bits >> 64n)));
  structured.setLeastSignificantBits(String(BigInt.asIntN(64, bits)));
  return structured;
}

/** The id in a message, as text. */
export function idFrom(uuid: InstanceType<typeof sharedPb.UUID> | undefined): string {
  const structured = uuid?.getStructured();
  if (!structured) return uuid?.getString() ?? '';
  const half = (bits: string) => BigInt.asUintN(64, BigInt(bits)).toString(16).padStart(16, '0');
  const hex = half(structured.getMostSignificantBits()) + half(structured.getLeastSignificantBits());
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** A stream's name as a message. */
export function streamIdentifier(name: string) {
  const identifier = new sharedPb.StreamIdentifier();
  identifier.setStreamName(Buffer.from(name));
  return identifier;
}

/** The name in a message. */
export function streamName(identifier: InstanceType<typeof sharedPb.StreamIdentifier> | undefined): string {
  return Buffer.from(identifier?.getStreamName_asU8() ?? []).toString('utf8');
}

/** A failed append in a batch. */
export function batchError(name: string, details: PackedMessage, message = '') {
  const packed = new AnyMessage();
  packed.pack(details.serializeBinary(), name);
  const error = new statusPb.Status();
  error.setMessage(message);
  error.setDetails(packed as unknown as NonNullable<ReturnType<typeof error.getDetails>>);
  return error;
}

/** The stream is elsewhere, as the error of an append in a batch that expected it there. */
export function wrongVersionError(actual: number, expected: Expected) {
  const details = new sharedPb.WrongExpectedVersion();
  const empty = new EmptyMessage() as unknown as NonNullable<ReturnType<typeof details.getCurrentNoStream>>;
  if (actual < 0) details.setCurrentNoStream(empty);
  else details.setCurrentStreamRevision(String(actual));
  if (expected === 'any') details.setExpectedAny(empty);
  else if (expected === 'no_stream') details.setExpectedNoStream(empty);
  else if (expected === 'stream_exists') details.setExpectedStreamExists(empty);
  else details.setExpectedStreamPosition(String(expected));
  return codedError(status.ALREADY_EXISTS, 'WrongExpectedVersion', details);
}

/** A bad event, as the error of an append in a batch. */
export function badRequestError(message: string) {
  const details = new sharedPb.BadRequest();
  details.setMessage(message);
  return codedError(status.INVALID_ARGUMENT, 'BadRequest', details);
}

/** The deadline has passed, as the error of an append in a batch. */
export const timeoutError = () => codedError(status.DEADLINE_EXCEEDED, 'Timeout', new sharedPb.Timeout());

function codedError(code: status, name: string, details: PackedMessage) {
  const error = batchError(`event_store.client.${name}`, details, name);
  error.setCode(code as number as Parameters<typeof error.setCode>[0]);
  return error;
}

/** The stream was deleted for good, as the error of an append in a batch. */
export function deletedError(stream: string) {
  const details = new sharedPb.StreamDeleted();
  details.setStreamIdentifier(streamIdentifier(stream));
  return codedError(status.NOT_FOUND, 'StreamDeleted', details);
}

/** The caller may not append, as the error of an append in a batch. */
export function deniedError() {
  return codedError(status.PERMISSION_DENIED, 'AccessDenied', new sharedPb.AccessDenied());
}

/** An append is larger than the server takes, as the error of an append in a batch. */
export function tooLargeError(most: number) {
  const details = new sharedPb.MaximumAppendSizeExceeded();
  details.setMaxappendsize(most);
  const error = batchError('event_store.client.MaximumAppendSizeExceeded', details, 'MaximumAppendSizeExceeded');
  error.setCode(status.INVALID_ARGUMENT as number as Parameters<typeof error.setCode>[0]);
  return error;
}

/** An append is larger than the server takes, as the error of any other call. */
export const tooLarge = (most: number): ServiceError =>
  callError(status.INVALID_ARGUMENT, `Maximum Append Size of ${most} Exceeded.`, {
    exception: 'maximum-append-size-exceeded',
    'maximum-append-size': String(most),
  });

/** The stream was deleted for good, as the error of any other call. */
export const streamDeleted = (stream: string): ServiceError =>
  callError(status.FAILED_PRECONDITION, `Event stream '${stream}' is deleted.`, {
    exception: 'stream-deleted',
    'stream-name': stream,
  });

/** The server is not ready, as the error of an append in a batch. */
export const busyError = () => batchError('google.protobuf.Empty', new EmptyMessage(), 'Server Is Not Ready');

/** A failed call with the trailers that the client looks for. */
export function callError(code: status, details: string, trailers: Record<string, string> = {}): ServiceError {
  const metadata = new Metadata();
  for (const [key, value] of Object.entries(trailers)) metadata.set(key, value);
  return Object.assign(new Error(details), { code, details, metadata });
}

/** The call needs the leader, which is at this address. */
export const notLeader = ({ host, port }: { host: string; port: number }): ServiceError =>
  callError(status.NOT_FOUND, 'Leader info available', {
    exception: 'not-leader',
    'leader-endpoint-host': host,
    'leader-endpoint-port': String(port),
  });

/** The caller may not do this. */
export const accessDenied = (): ServiceError =>
  callError(status.PERMISSION_DENIED, 'Access Denied', { exception: 'access-denied' });

/** The credentials are wrong. */
export const unauthenticated = (): ServiceError => callError(status.UNAUTHENTICATED, 'Unauthenticated');

/** The server is not ready. */
export const tooBusy = (): ServiceError => callError(status.UNAVAILABLE, 'Server Is Not Ready');

/** The server did not come to an end with a write in time, which may be recorded all the same. */
export const gaveUp = (why: string): ServiceError => callError(status.ABORTED, why);

/** The server failed where it did not mean to. */
export const thrown = (): ServiceError => callError(status.UNKNOWN, 'Exception was thrown by handler.');
