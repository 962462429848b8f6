import { type ServerUnaryCall, type ServiceError, type sendUnaryData, status } from '@grpc/grpc-js';
import streamsPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/streams_pb.js';
import { fateOf } from './appends.js';
import type { Expected } from './log.js';
import type { Node } from './node-calls.js';
import { callError, gaveUp, notLeader, streamDeleted, streamName, tooBusy } from './protocol.js';

type DeleteRequest = InstanceType<typeof streamsPb.DeleteReq>;
type DeleteResponse = InstanceType<typeof streamsPb.DeleteResp>;
type TombstoneRequest = InstanceType<typeof streamsPb.TombstoneReq>;
type TombstoneResponse = InstanceType<typeof streamsPb.TombstoneResp>;
type Options = InstanceType<typeof streamsPb.DeleteReq.Options> | InstanceType<typeof streamsPb.TombstoneReq.Options>;

/** Deletes a stream so that it may begin again. One that never was cannot be. */
export function serveDelete(
  node: Node,
  call: ServerUnaryCall<DeleteRequest, DeleteResponse>,
  callback: sendUnaryData<DeleteResponse>,
): void {
  const asked = check(node, call, true);
  if (!('stream' in asked)) {
    if (asked.error) callback(asked.error);
    return;
  }
  node.log.softDelete(asked.stream);
  const response = new streamsPb.DeleteResp();
  response.setPosition(placed(new streamsPb.DeleteResp.Position(), node.log.records.at(-1)?.position ?? 0));
  callback(null, response);
}

/** Deletes a stream for good, also one that never was. */
export function serveTombstone(
  node: Node,
  call: ServerUnaryCall<TombstoneRequest, TombstoneResponse>,
  callback: sendUnaryData<TombstoneResponse>,
): void {
  const asked = check(node, call, false);
  if (!('stream' in asked)) {
    if (asked.error) callback(asked.error);
    return;
  }
  const response = new streamsPb.TombstoneResp();
  response.setPosition(placed(new streamsPb.TombstoneResp.Position(), node.log.tombstone(asked.stream)));
  callback(null, response);
}

/** The stream, or why it is not deleted; no error where nothing is answered. */
function check(
  node: Node,
  call: ServerUnaryCall<DeleteRequest | TombstoneRequest, unknown>,
  mustBe: boolean,
): { readonly stream: string } | { readonly error?: ServiceError } {
  const fate = fateOf(node);
  if (fate === 'refused') return { error: tooBusy() };
  if (call.metadata.get('requires-leader')[0] === 'true' && !node.isLeader())
    return { error: notLeader(node.leader()) };
  if (fate === 'unanswered') return {};
  if (typeof fate === 'object') return { error: gaveUp(fate.unseen) };
  const options = call.request.getOptions() as Options;
  const stream = streamName(options.getStreamIdentifier());
  if (node.log.isTombstoned(stream)) return { error: streamDeleted(stream) };
  const actual = node.log.actual(stream);
  const expected = expectedOf(options);
  const fits =
    expected === 'any'
      ? actual >= 0 || !mustBe
      : expected === 'stream_exists'
        ? actual >= 0
        : (expected === 'no_stream' ? -1 : expected) === actual && (actual >= 0 || !mustBe);
  return fits ? { stream } : { error: wrongVersion(stream, numberOf(expected), actual) };
}

/** What stands for an expectation in a message. */
function numberOf(expected: Expected): number {
  if (typeof expected === 'number') return expected;
  return { any: -2, no_stream: -1, stream_exists: -4 }[expected];
}

const wrongVersion = (stream: string, expected: number, actual: number) =>
  callError(
    status.FAILED_PRECONDITION,
    `Delete failed due to WrongExpectedVersion. Stream: ${stream}, Expected version: ${expected}, Actual version: ${actual}`,
    {
      exception: 'wrong-expected-version',
      'stream-name': stream,
      'expected-version': String(expected),
      'actual-version': String(actual),
    },
  );

function expectedOf(options: Options): Expected {
  if (options.hasAny()) return 'any';
  if (options.hasNoStream()) return 'no_stream';
  if (options.hasStreamExists()) return 'stream_exists';
  return Number(options.getRevision());
}

type Position = { setCommitPosition(position: string): unknown; setPreparePosition(position: string): unknown };

function placed<P extends Position>(position: P, at: number): P {
  position.setCommitPosition(String(at));
  position.setPreparePosition(String(at));
  return position;
}
