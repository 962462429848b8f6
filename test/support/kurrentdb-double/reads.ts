import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { type ServerWritableStream, status } from '@grpc/grpc-js';
import streamsPb from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/streams_pb.js';
import { biggest, type Checkpoint, checkpoints, type Start } from './checkpoints.js';
import { InvalidPosition, type StoredRecord, Tombstoned } from './log.js';
import { confirmsLater, refusesRead } from './modes.js';
import type { Node } from './node-calls.js';
import {
  callError,
  notLeader,
  readResponse,
  streamDeleted,
  streamIdentifier,
  streamName,
  thrown,
  tooBusy,
} from './protocol.js';
import { streamPage } from './stream-reads.js';

type Request = InstanceType<typeof streamsPb.ReadReq>;
type Options = InstanceType<typeof streamsPb.ReadReq.Options>;
type Filter = InstanceType<typeof streamsPb.ReadReq.Options.FilterOptions>;

/** A call of Streams.Read. An answer is sent as bytes, which are made once for each record. */
export type ReadCall = ServerWritableStream<Request, Buffer>;

/** Records that a subscription may be behind before it counts as catching up. */
const liveBuffer = 1_000;

const serialised = [new WeakMap<StoredRecord, Buffer>(), new WeakMap<StoredRecord, Buffer>()];

/** Answers a read, or a subscription until it is cancelled. */
export async function serveRead(node: Node, call: ReadCall): Promise<void> {
  const options = call.request.getOptions() as Options;
  const fault = node.faults.next(options.hasSubscription() ? 'subscribe' : 'read');
  const leaderWanted = call.metadata.get('requires-leader')[0] === 'true';
  try {
    if (fault?.kind === 'drop') return node.dropConnections();
    if (fault?.kind === 'busy') throw tooBusy();
    const { modes } = node;
    if (options.hasSubscription()) await modes.confirming();
    else if (refusesRead(modes.mode(), leaderWanted)) throw tooBusy();
    const leads = node.isLeader() || confirmsLater(modes.mode());
    const follower = fault?.kind === 'not_leader' || (leaderWanted && !leads);
    // A subscription is confirmed first.
    if (follower && options.hasSubscription()) await send(call, confirmation());
    if (follower) throw notLeader(node.leader());
    if (fault?.kind === 'no_answer') return;
    if (fault?.kind === 'late') await delay(fault.ms);
    if (options.hasSubscription()) return await subscribe(node, call, options);
    // Nothing is never read.
    if (!options.hasStream() && Number(options.getCount()) === 0) return;
    const page = options.hasStream() ? streamPage(node, options) : undefined;
    const found = options.hasStream() ? page?.records : allPage(node, options);
    if (!found) await send(call, notFound(streamName(options.getStream()?.getStreamIdentifier())));
    for (const first of page?.firsts ?? []) await send(call, streamPlace('First', first));
    let sent = 0;
    for (const record of found ?? []) {
      await send(call, bytesOf(record, options));
      if (fault?.kind === 'lose_answer' && ++sent === 3) return node.dropConnections();
    }
    const compatible = (options.getControlOption()?.getCompatibility() ?? 0) > 0;
    if (page && compatible) await send(call, streamPlace('Last', page.last));
    call.end();
  } catch (error) {
    if (call.cancelled) return;
    call.emit('error', error instanceof Tombstoned ? streamDeleted(error.message) : error);
  }
}

function allPage({ log }: Node, options: Options): StoredRecord[] {
  const { records } = log;
  if (!options.hasFilter() && !options.hasNoFilter()) {
    const direction = isBackwards(options) ? 'Backwards' : 'Forwards';
    throw callError(status.INVALID_ARGUMENT, `The combination of (All, Count, ${direction}, None) is invalid.`);
  }
  const matches = matcher(options.getFilter());
  const count = Number(options.getCount());
  const page: StoredRecord[] = [];
  const place = placeOf(options);
  const result = options.hasFilter() ? 'FilteredReadAllResult' : 'ReadAllResult';
  const failed = (why: string) => callError(status.UNKNOWN, `Unexpected ${result}: ${why}`);
  const indexOf = (position: bigint) => {
    if (position > BigInt(log.end())) {
      if (isBackwards(options)) throw failed('Error');
      return records.length;
    }
    if (position === BigInt(log.end()) && isBackwards(options)) throw failed('InvalidPosition');
    try {
      return log.indexOf(Number(position));
    } catch (error) {
      if (error instanceof InvalidPosition) throw failed('InvalidPosition');
      throw error;
    }
  };
  let index = place === 'start' ? 0 : place === 'end' ? records.length : indexOf(place.commit);
  if (isBackwards(options)) {
    // What is before the event at that commit position, by the order of both, is before the one before it.
    if (typeof place === 'object' && place.prepare < place.commit) index--;
    for (let i = index - 1; i >= 0 && page.length < count; i--) keep(page, records[i], matches);
    return page;
  }
  for (let i = index; i < records.length && page.length < count; i++) keep(page, records[i], matches);
  return page;
}

/**
 * Where a read or a subscription of the whole log is to begin. The biggest 64-bit number is its end.
 * @throws ServiceError as the server does, if the position cannot be one
 */
function placeOf(options: Options): Start {
  const from = options.getAll() as NonNullable<ReturnType<Options['getAll']>>;
  const position = from.getPosition();
  if (!position) return from.hasEnd() || (isBackwards(options) && !from.hasStart()) ? 'end' : 'start';
  const [commit, prepare] = [BigInt(position.getCommitPosition()), BigInt(position.getPreparePosition())];
  if (commit === biggest) return 'end';
  if (commit >= 2n ** 63n || prepare > commit) throw thrown();
  return { commit, prepare };
}

function keep(page: StoredRecord[], record: StoredRecord | undefined, matches: (record: StoredRecord) => boolean) {
  if (record && matches(record)) page.push(record);
}

async function subscribe(node: Node, call: ReadCall, options: Options): Promise<void> {
  const { log } = node;
  const place = placeOf(options);
  const matches = matcher(options.getFilter());
  const born = node.silences();
  const end = log.records.at(-1)?.position ?? 0;
  // A subscription that begins beyond the end holds back what comes until it is behind there.
  let cursor = place === 'start' ? 0 : place === 'end' ? end : Number(place.commit);
  const windows = checkpoints(options, place);
  let grown = () => undefined as unknown;
  const forget = log.onGrowth(() => grown());
  call.on('cancelled', () => grown());
  try {
    await send(call, confirmation());
    if (typeof place === 'object') {
      checkPlace(log, cursor);
      // The order is by both: the event at that commit position comes after, and is sent again.
      if (place.prepare < place.commit) cursor--;
    }
    let caughtUp = false;
    let index = log.records.findIndex(({ position }) => position > cursor);
    if (index < 0) index = log.records.length;
    while (!call.cancelled) {
      // Who falls behind catches up again.
      if (log.records.length - index > liveBuffer) caughtUp = false;
      for (let record = log.records[index]; record && !call.cancelled; record = log.records[++index]) {
        if (born !== node.silences() || node.hangsBetween(cursor, record.position)) return await silence(call);
        const matching = matches(record);
        if (matching) await send(call, bytesOf(record, options));
        cursor = record.position;
        const reached = windows.pass(record.position, matching, caughtUp);
        if (reached) await send(call, checkpoint(reached));
      }
      if (!caughtUp) {
        const last = windows.atEnd();
        if (last) await send(call, checkpoint(last));
        await send(call, nowCaughtUp());
        node.onCaughtUp();
      }
      caughtUp = true;
      if (index >= log.records.length && !call.cancelled) {
        await new Promise<void>((resolve) => {
          grown = resolve as () => undefined;
        });
      }
      // A truncation moves the records.
      if (log.records[index - 1]?.position !== cursor) {
        const at = log.records.findIndex(({ position }) => position > cursor);
        index = at < 0 ? log.records.length : at;
      }
    }
  } finally {
    forget();
  }
}

function checkPlace(log: Node['log'], position: number): void {
  try {
    log.indexOf(position);
  } catch {
    throw callError(status.INVALID_ARGUMENT, 'Trying to read from an invalid position.');
  }
}

function silence(call: ReadCall): Promise<void> {
  return new Promise((resolve) => call.on('cancelled', () => resolve()));
}

function matcher(filter: Filter | undefined): (record: StoredRecord) => boolean {
  const byStream = filter?.getStreamIdentifier();
  const expression = byStream ?? filter?.getEventType();
  if (!expression) return () => true;
  const subject = (record: StoredRecord) => (byStream ? record.stream : record.type);
  const regex = expression.getRegex() === '' ? undefined : new RegExp(expression.getRegex());
  if (regex) return (record) => regex.test(subject(record));
  const prefixes = expression.getPrefixList();
  return (record) => prefixes.some((prefix) => subject(record).startsWith(prefix));
}

function isBackwards(options: Options): boolean {
  return options.getReadDirection() === streamsPb.ReadReq.Options.ReadDirection.BACKWARDS;
}

async function send(call: ReadCall, answer: Buffer): Promise<void> {
  if (call.cancelled || call.write(answer)) return;
  await new Promise<void>((resolve) => {
    const done = () => {
      call.off('drain', done);
      call.off('cancelled', done);
      resolve();
    };
    call.on('drain', done);
    call.on('cancelled', done);
  });
}

function bytesOf(record: StoredRecord, options: Options): Buffer {
  const structured = options.getUuidOption()?.hasStructured() ?? true;
  const cache = serialised[structured ? 1 : 0] as WeakMap<StoredRecord, Buffer>;
  const bytes = cache.get(record) ?? readResponse(record, structured);
  cache.set(record, bytes);
  return bytes;
}

function notFound(stream: string): Buffer {
  const response = new streamsPb.ReadResp();
  const missing = new streamsPb.ReadResp.StreamNotFound();
  missing.setStreamIdentifier(streamIdentifier(stream));
  response.setStreamNotFound(missing);
  return Buffer.from(response.serializeBinary());
}

function streamPlace(which: 'First' | 'Last', revision: number): Buffer {
  const response = new streamsPb.ReadResp();
  if (which === 'First') response.setFirstStreamPosition(String(revision));
  else response.setLastStreamPosition(String(revision));
  return Buffer.from(response.serializeBinary());
}

function confirmation(): Buffer {
  const response = new streamsPb.ReadResp();
  const confirmed = new streamsPb.ReadResp.SubscriptionConfirmation();
  confirmed.setSubscriptionId(randomUUID());
  response.setConfirmation(confirmed);
  return Buffer.from(response.serializeBinary());
}

function checkpoint({ commit, prepare }: Checkpoint): Buffer {
  const response = new streamsPb.ReadResp();
  const reached = new streamsPb.ReadResp.Checkpoint();
  reached.setCommitPosition(String(commit));
  reached.setPreparePosition(String(prepare));
  response.setCheckpoint(reached);
  return Buffer.from(response.serializeBinary());
}

function nowCaughtUp(): Buffer {
  const response = new streamsPb.ReadResp();
  response.setCaughtUp(new streamsPb.ReadResp.CaughtUp());
  return Buffer.from(response.serializeBinary());
}
