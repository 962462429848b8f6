import { status } from '@grpc/grpc-js';
import streamsPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/streams_pb.js';
import type { StoredRecord } from './log.js';
import type { Node } from './node-calls.js';
import { callError, streamName } from './protocol.js';

type Options = InstanceType<typeof streamsPb.ReadReq.Options>;

/** Records of the first page of a read, as many as the server looks at to say where a stream begins. */
const firstPage = 32;

/** What is sent of a stream. */
export type StreamPage = {
  readonly records: readonly StoredRecord[];
  /** Where the stream begins, in front of the events, one after the other. */
  readonly firsts: readonly number[];
  /** The last revision, behind the events. */
  readonly last: number;
};

/**
 * What a read of a stream gives; undefined if there is no such stream.
 * @throws ServiceError as the server does; Tombstoned
 */
export function streamPage({ log }: Node, options: Options): StreamPage | undefined {
  const from = options.getStream() as NonNullable<ReturnType<Options['getStream']>>;
  const name = streamName(from.getStreamIdentifier());
  const count = Number(options.getCount());
  const { BACKWARDS } = streamsPb.ReadReq.Options.ReadDirection;
  const backwards = options.getReadDirection() === BACKWARDS;
  const revision = from.hasRevision() ? Number(from.getRevision()) : undefined;
  const atEnd = from.hasEnd() || (from.hasRevision() && BigInt(from.getRevision()) >= 2n ** 63n);
  if (count === 0 || (!backwards && atEnd)) throw callError(status.UNKNOWN, 'Unexpected ReadStreamResult: Error');
  const { first, last, missing } = log.place(name);
  if (missing) return undefined;
  const records = log.stream(name);
  if (backwards) {
    const upTo = atEnd ? last : Math.min(last, revision ?? 0);
    const before = records.filter((record) => record.revision <= upTo);
    return { records: before.slice(-count).reverse(), firsts: [], last };
  }
  let at = revision ?? 0;
  const firsts: number[] = [];
  const page = at + Math.min(firstPage, count);
  if (at < first && !records.some((record) => record.revision >= at && record.revision < page)) {
    firsts.push(first);
    at = first;
  }
  if (at > last + 1) firsts.push(last + 1);
  return { records: records.filter((record) => record.revision >= at).slice(0, count), firsts, last };
}
