import { setTimeout as delay } from 'node:timers/promises';
import {
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServiceError,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';
import sharedPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/shared_pb.js';
import streamsPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/streams_pb.js';
import type { Expected, Outcome, Proposed, Unseen } from './log.js';
import { confirmsLater, type WriteFate, writesIn } from './modes.js';
import type { Node } from './node-calls.js';
import {
  badRequestError,
  busyError,
  callError,
  deletedError,
  gaveUp,
  idFrom,
  notLeader,
  streamDeleted,
  streamName,
  thrown,
  timeoutError,
  tooBusy,
  tooLarge,
  tooLargeError,
  wrongVersionError,
} from './protocol.js';

type BatchRequest = InstanceType<typeof streamsPb.BatchAppendReq>;
type BatchResponse = InstanceType<typeof streamsPb.BatchAppendResp>;
type BatchOptions = InstanceType<typeof streamsPb.BatchAppendReq.Options>;
type AppendRequest = InstanceType<typeof streamsPb.AppendReq>;
type AppendResponse = InstanceType<typeof streamsPb.AppendResp>;
type Message = InstanceType<typeof streamsPb.BatchAppendReq.ProposedMessage>;
type BatchError = NonNullable<ReturnType<BatchResponse['getError']>>;

type Pending = { readonly options: BatchOptions; readonly events: Proposed[] };

/** How many calls a follower has ended at their first message. It fails at every second. */
let endedAtFollowers = 0;

/** What becomes of a write at a node: a follower passes it on. */
export function fateOf(node: Node): WriteFate {
  const fate = writesIn(node.modes.mode());
  return fate === 'taken' && !node.isLeader() && !node.leaderAnswers() ? 'unanswered' : fate;
}

/** Answers appends of one client, each when it is done; what `refusal` gives for its stream is told of each, and the call goes on. */
export function serveBatchAppend(
  node: Node,
  call: ServerDuplexStream<BatchRequest, BatchResponse>,
  refusal: (stream: string) => BatchError | undefined,
): void {
  const pending = new Map<string, Pending>();
  const leaderWanted = call.metadata.get('requires-leader')[0] === 'true';
  // What comes behind a request that was lost on the way has not arrived either, though it may be in this process already.
  let lost = false;
  const turn = { last: Promise.resolve() as Promise<unknown> };
  let fresh = true;
  let underWay = 0;
  let halfClosed = false;
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
    if (leaderWanted && !node.isLeader() && !confirmsLater(node.modes.mode())) {
      const fails = fresh && endedAtFollowers++ % 2 === 1;
      return void call.emit('error', fails ? thrown() : notLeader(node.leader()));
    }
    fresh = false;
    underWay++;
    const fate = fateOf(node);
    if (fate === 'unanswered') return;
    const refused = fate === 'refused' ? busyError() : refusal(streamName(append.options.getStreamIdentifier()));
    const answered = refused
      ? Promise.resolve(void call.write(answerTo(request, append, refused)))
      : answerBatch(node, call, request, append, turn, () => {
          lost = true;
        });
    void answered.then(() => {
      underWay--;
      // All of it is recorded, and the call ends with an answer or a few.
      if (halfClosed) call.end();
    });
  });
  // A client that has nothing under way and says that nothing more will come is not answered.
  call.on('end', () => {
    halfClosed = underWay > 0;
    node.onHalfClosed();
  });
  call.on('error', () => undefined);
}

function answerTo(request: BatchRequest, { options }: Pending, error?: BatchError): BatchResponse {
  const response = new streamsPb.BatchAppendResp();
  response.setCorrelationId(request.getCorrelationId());
  response.setStreamIdentifier(options.getStreamIdentifier());
  if (error) response.setError(error);
  return response;
}

async function answerBatch(
  node: Node,
  call: ServerDuplexStream<BatchRequest, BatchResponse>,
  request: BatchRequest,
  append: Pending,
  turn: { last: Promise<unknown> },
  onLost: () => void,
): Promise<void> {
  let before: Promise<unknown> | undefined;
  const { options, events } = append;
  const stream = streamName(options.getStreamIdentifier());
  const response = answerTo(request, append);
  const fault = node.faults.next('append');
  if (fault?.kind === 'drop') {
    onLost();
    return node.dropConnections();
  }
  if (fault?.kind === 'not_leader') return void call.emit('error', notLeader(node.leader()));
  const expected = expectedOf(options);
  const bad = badness(stream, events);
  if (fault?.kind === 'busy') {
    response.setError(busyError());
  } else if (fault?.kind === 'wrong_version') {
    response.setError(wrongVersionError(node.log.actual(stream), expected));
  } else if (bad !== undefined) {
    response.setError(badRequestError(bad));
  } else if (isOver(options)) {
    response.setError(timeoutError());
  } else if (sizeOf(events) > node.maxAppendSize) {
    response.setError(tooLargeError(node.maxAppendSize));
  } else {
    const fate = fateOf(node);
    const hidden = fault?.kind === 'unseen' || typeof fate === 'object';
    const outcome = hidden
      ? node.log.appendUnseen(stream, expected, events)
      : node.log.append(stream, expected, events);
    if (fault?.kind === 'lose_answer') return node.dropConnections();
    if (fault?.kind === 'no_answer') return;
    const late = fault?.kind === 'late' ? delay(fault.ms) : fault?.kind === 'held' ? fault.until : undefined;
    if (outcome.kind === 'silent') return;
    if (outcome.kind === 'wrong') response.setError(wrongVersionError(outcome.actual, expected));
    else if (outcome.kind === 'deleted') response.setError(deletedError(stream));
    else if (outcome.kind === 'unseen') {
      response.setError(timeoutError());
      if (fault?.kind === 'unseen') void fault.shown.then(outcome.show);
      else node.hide(outcome.show);
    } else response.setSuccess(batchSuccess(outcome));
    if (outcome.kind === 'done') {
      before = Promise.all([turn.last, late]);
      turn.last = before;
    } else before = late;
  }
  // What was recorded is answered in turn; a refusal overtakes it.
  await before;
  if (!call.cancelled && !call.destroyed && !call.writableEnded) call.write(response);
}

/** Whether the deadline of an append has passed, or is none at all. */
function isOver(options: BatchOptions): boolean {
  const at = options.getDeadline21100();
  if (at) return at.getSeconds() * 1_000 + at.getNanos() / 1e6 <= Date.now();
  const within = options.getDeadline();
  return within !== undefined && within.getSeconds() <= 0 && within.getNanos() <= 0;
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const nil = '00000000-0000-0000-0000-000000000000';

/** What is wrong with an append as such; undefined if nothing is. */
function badness(stream: string, events: readonly Proposed[]): string | undefined {
  if (stream === '' || stream === '$$') return `Invalid stream name '${stream}'.`;
  const event = events.find(({ id, type }) => type === '' || id === nil || !uuid.test(id));
  return event && (event.type === '' ? 'Empty eventType provided.' : 'Empty eventId provided.');
}

/** Answers one append. */
export function serveAppend(
  node: Node,
  call: ServerReadableStream<AppendRequest, AppendResponse>,
  callback: sendUnaryData<AppendResponse>,
  refusal: (stream: string) => ServiceError | undefined,
): void {
  let options: InstanceType<typeof streamsPb.AppendReq.Options> | undefined;
  const messages: Message[] = [];
  const leaderWanted = call.metadata.get('requires-leader')[0] === 'true';
  call.on('data', (request: AppendRequest) => {
    options ??= request.getOptions();
    const message = request.getProposedMessage();
    if (message) messages.push(message as unknown as Message);
  });
  call.on('end', () => {
    const fault = node.faults.next('append');
    if (fault?.kind === 'drop') return node.dropConnections();
    if (fault?.kind === 'busy') return callback(tooBusy());
    const fate = fateOf(node);
    if (fate === 'refused') return callback(tooBusy());
    if (fault?.kind === 'not_leader' || (leaderWanted && !node.isLeader())) return callback(notLeader(node.leader()));
    if (fate === 'unanswered') return undefined;
    const refused = refusal(streamName(options?.getStreamIdentifier()));
    if (refused) return callback(refused);
    const lacking = messages.flatMap(missingProperties)[0];
    if (lacking !== undefined) return callback(missingProperty(lacking));
    const stream = streamName(options?.getStreamIdentifier());
    const events = messages.map(proposed);
    if (badness(stream, events) !== undefined) return callback(thrown());
    if (sizeOf(events) > node.maxAppendSize) return callback(tooLarge(node.maxAppendSize));
    const expected = plainExpected(options);
    const outcome: Outcome | Unseen =
      fault?.kind === 'wrong_version'
        ? { kind: 'wrong', actual: node.log.actual(stream) }
        : node.log[typeof fate === 'object' ? 'appendUnseen' : 'append'](stream, expected, events);
    if (fault?.kind === 'lose_answer') return node.dropConnections();
    if (fault?.kind === 'no_answer') return undefined;
    if (outcome.kind === 'deleted') return callback(streamDeleted(stream));
    if (outcome.kind === 'silent') return undefined;
    if (outcome.kind === 'unseen') {
      node.hide(outcome.show);
      return callback(gaveUp(typeof fate === 'object' ? fate.unseen : ''));
    }
    return void callback(null, plainAnswer(outcome, expected));
  });
}

function missingProperties(message: Message): string[] {
  return ['type', 'content-type'].filter((name) => message.getMetadataMap().get(name) === undefined);
}

const missingProperty = (name: string) =>
  callError(status.INVALID_ARGUMENT, `Required Metadata Property '${name}' is missing`, {
    exception: 'missing-required-metadata-property',
    'required-metadata-properties': 'type,content-type',
  });

function plainAnswer(outcome: Exclude<Outcome, { kind: 'deleted' | 'silent' }>, expected: Expected): AppendResponse {
  const response = new streamsPb.AppendResp();
  if (outcome.kind === 'wrong') {
    response.setWrongExpectedVersion(wrongVersion(outcome.actual, expected));
    return response;
  }
  const success = new streamsPb.AppendResp.Success();
  if (outcome.revision < 0) success.setNoStream(new sharedPb.Empty());
  else success.setCurrentRevision(String(outcome.revision));
  if (outcome.position === undefined) {
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

/** The fields of now and those that servers before 20.6.1 had, which are filled as well. */
function wrongVersion(actual: number, expected: Expected) {
  const wrong = new streamsPb.AppendResp.WrongExpectedVersion();
  const empty = () => new sharedPb.Empty();
  if (actual < 0) wrong.setCurrentNoStream(empty()).setNoStream2060(empty());
  else wrong.setCurrentRevision(String(actual)).setCurrentRevision2060(actual);
  if (expected === 'any') wrong.setExpectedAny(empty()).setAny2060(empty());
  else if (expected === 'no_stream') wrong.setExpectedNoStream(empty());
  else if (expected === 'stream_exists') wrong.setExpectedStreamExists(empty()).setStreamExists2060(empty());
  else wrong.setExpectedRevision(String(expected)).setExpectedRevision2060(expected);
  return wrong;
}

function batchSuccess(outcome: Extract<Outcome, { kind: 'done' }>) {
  const success = new streamsPb.BatchAppendResp.Success();
  if (outcome.revision < 0) success.setNoStream(new sharedPb.Empty() as never);
  else success.setCurrentRevision(String(outcome.revision));
  if (outcome.position === undefined) {
    success.setNoPosition(new sharedPb.Empty() as never);
    return success;
  }
  const position = new sharedPb.AllStreamPosition();
  position.setCommitPosition(String(outcome.position));
  position.setPreparePosition(String(outcome.position));
  success.setPosition(position);
  return success;
}

/** What a server counts of an append. */
function sizeOf(events: readonly Proposed[]): number {
  return events.reduce((sum, { data, metadata, type }) => sum + data.length + metadata.length + 2 * type.length, 0);
}

function proposed(message: Message): Proposed {
  const json = message.getMetadataMap().get('content-type') === 'application/json';
  return {
    id: idFrom(message.getId()),
    type: message.getMetadataMap().get('type') ?? '',
    contentType: json ? 'application/json' : 'application/octet-stream',
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
