import { setTimeout as delay } from 'node:timers/promises';
import type { ServerDuplexStream, ServerReadableStream, sendUnaryData } from '@grpc/grpc-js';
import sharedPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/shared_pb.js';
import streamsPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/streams_pb.js';
import type { Expected, Outcome, Proposed } from './log.js';
import type { Node } from './node-calls.js';
import {
  busyError,
  deletedError,
  deniedError,
  idFrom,
  notLeader,
  streamDeleted,
  streamName,
  tooBusy,
  wrongVersionError,
} from './protocol.js';

type BatchRequest = InstanceType<typeof streamsPb.BatchAppendReq>;
type BatchResponse = InstanceType<typeof streamsPb.BatchAppendResp>;
type BatchOptions = InstanceType<typeof streamsPb.BatchAppendReq.Options>;
type AppendRequest = InstanceType<typeof streamsPb.AppendReq>;
type AppendResponse = InstanceType<typeof streamsPb.AppendResp>;
type Message = InstanceType<typeof streamsPb.BatchAppendReq.ProposedMessage>;

type Pending = { readonly options: BatchOptions; readonly events: Proposed[] };

/** Answers appends of one client, each when it is done; with `denied` each is refused, and the call goes on. */
export function serveBatchAppend(
  node: Node,
  call: ServerDuplexStream<BatchRequest, BatchResponse>,
  denied: boolean,
): void {
  const pending = new Map<string, Pending>();
  const leaderWanted = call.metadata.get('requires-leader')[0] === 'true';
  // What comes behind a request that was lost on the way has not arrived either, though it may be in this process already.
  let lost = false;
  call.on('data', (request: BatchRequest) => {
    if (lost) return;
    const id = idFrom(request.getCorrelationId());
    const options = request.getOptions();
    if (options) pending.set(id, { options, events: [] });
    const append = pending.get(id);
    if (!append) return;
    append.events.push(...request.getProposedMessagesList().map(proposed));
    if (!request.getIsFinal()) return;
    pending.delete(id);
    if (denied) call.write(failedBatch(request, append, deniedError()));
    else if (leaderWanted && !node.isLeader()) call.emit('error', notLeader(node.leader()));
    else
      void answerBatch(node, call, request, append, () => {
        lost = true;
      });
  });
  call.on('end', () => call.end());
  call.on('error', () => undefined);
}

function failedBatch(
  request: BatchRequest,
  { options }: Pending,
  error: ReturnType<typeof deniedError>,
): BatchResponse {
  const response = new streamsPb.BatchAppendResp();
  response.setCorrelationId(request.getCorrelationId());
  response.setStreamIdentifier(options.getStreamIdentifier());
  response.setError(error);
  return response;
}

async function answerBatch(
  node: Node,
  call: ServerDuplexStream<BatchRequest, BatchResponse>,
  request: BatchRequest,
  { options, events }: Pending,
  onLost: () => void,
): Promise<void> {
  const stream = streamName(options.getStreamIdentifier());
  const response = new streamsPb.BatchAppendResp();
  response.setCorrelationId(request.getCorrelationId());
  response.setStreamIdentifier(options.getStreamIdentifier());
  const fault = node.faults.next('append');
  if (fault?.kind === 'drop') {
    onLost();
    return node.dropConnections();
  }
  if (fault?.kind === 'not_leader') return void call.emit('error', notLeader(node.leader()));
  if (fault?.kind === 'busy') {
    response.setError(busyError());
  } else if (fault?.kind === 'wrong_version') {
    response.setError(wrongVersionError(node.log.actual(stream)));
  } else {
    const outcome = node.log.append(stream, expectedOf(options), events);
    if (fault?.kind === 'lose_answer') return node.dropConnections();
    if (fault?.kind === 'no_answer') return;
    if (fault?.kind === 'late') await delay(fault.ms);
    if (outcome.kind === 'wrong') response.setError(wrongVersionError(outcome.actual));
    else if (outcome.kind === 'deleted') response.setError(deletedError(stream));
    else response.setSuccess(batchSuccess(outcome));
  }
  if (!call.cancelled && !call.destroyed) call.write(response);
}

/** Answers one append. */
export function serveAppend(
  node: Node,
  call: ServerReadableStream<AppendRequest, AppendResponse>,
  callback: sendUnaryData<AppendResponse>,
): void {
  let options: InstanceType<typeof streamsPb.AppendReq.Options> | undefined;
  const events: Proposed[] = [];
  const leaderWanted = call.metadata.get('requires-leader')[0] === 'true';
  call.on('data', (request: AppendRequest) => {
    options ??= request.getOptions();
    const message = request.getProposedMessage();
    if (message) events.push(proposed(message as unknown as Message));
  });
  call.on('end', () => {
    const fault = node.faults.next('append');
    if (fault?.kind === 'drop') return node.dropConnections();
    if (fault?.kind === 'busy') return callback(tooBusy());
    if (fault?.kind === 'not_leader' || (leaderWanted && !node.isLeader())) return callback(notLeader(node.leader()));
    const stream = streamName(options?.getStreamIdentifier());
    const outcome: Outcome =
      fault?.kind === 'wrong_version'
        ? { kind: 'wrong', actual: node.log.actual(stream) }
        : node.log.append(stream, plainExpected(options), events);
    if (fault?.kind === 'lose_answer') return node.dropConnections();
    if (fault?.kind === 'no_answer') return undefined;
    if (outcome.kind === 'deleted') return callback(streamDeleted(stream));
    return void callback(null, plainAnswer(outcome));
  });
}

function plainAnswer(outcome: Exclude<Outcome, { kind: 'deleted' }>): AppendResponse {
  const response = new streamsPb.AppendResp();
  if (outcome.kind === 'wrong') {
    const wrong = new streamsPb.AppendResp.WrongExpectedVersion();
    if (outcome.actual < 0) wrong.setCurrentNoStream(new sharedPb.Empty());
    else wrong.setCurrentRevision(String(outcome.actual));
    wrong.setExpectedAny(new sharedPb.Empty());
    response.setWrongExpectedVersion(wrong);
    return response;
  }
  const success = new streamsPb.AppendResp.Success();
  success.setCurrentRevision(String(outcome.revision));
  if (outcome.known) {
    success.setNoPosition(new sharedPb.Empty());
  } else {
    const position = new streamsPb.AppendResp.Position();
    position.setCommitPosition(String(outcome.position));
    position.setPreparePosition(String(outcome.position));
    success.setPosition(position);
  }
  response.setSuccess(success);
  return response;
}

function batchSuccess(outcome: Extract<Outcome, { kind: 'done' }>) {
  const success = new streamsPb.BatchAppendResp.Success();
  success.setCurrentRevision(String(outcome.revision));
  // A server that recognises an append does not say where its events are.
  if (outcome.known) return success;
  const position = new sharedPb.AllStreamPosition();
  position.setCommitPosition(String(outcome.position));
  position.setPreparePosition(String(outcome.position));
  success.setPosition(position);
  return success;
}

function proposed(message: Message): Proposed {
  return {
    id: idFrom(message.getId()),
    type: message.getMetadataMap().get('type') ?? '',
    contentType: message.getMetadataMap().get('content-type') ?? '',
    data: message.getData_asU8(),
    metadata: message.getCustomMetadata_asU8(),
  };
}

function expectedOf(options: BatchOptions): Expected {
  if (options.hasAny()) return 'any';
  if (options.hasNoStream()) return 'no_stream';
  if (options.hasStreamExists()) return 'stream_exists';
  return Number(options.getStreamPosition());
}

function plainExpected(options: InstanceType<typeof streamsPb.AppendReq.Options> | undefined): Expected {
  if (!options || options.hasAny()) return 'any';
  if (options.hasNoStream()) return 'no_stream';
  if (options.hasStreamExists()) return 'stream_exists';
  return Number(options.getRevision());
}
