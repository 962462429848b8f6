import { LRUCache } from 'lru-cache';
import type { JobRequested } from '../../gen/memoir/events/v1/events_pb.js';
import type { ReadModel } from '../../projections/read-model/read-model.js';
import type { Command } from '../domain/commands.js';
import { MemoirError } from '../domain/errors.js';
import type { JobEvent } from '../domain/events.js';
import { evolve } from '../domain/evolve.js';
import { decide, type JobRecord } from '../domain/job.js';
import { addressesOf } from '../domain/outputs/addresses.js';
import { jobStream, uuidOfJobStream } from '../domain/streams.js';
import type { Edge } from '../edge.js';
import { type EventStore, type NewEvent, type Position, StreamDeleted } from '../eventstore/port.js';
import type { Caller } from './caller.js';
import { decidedAgain } from './contention.js';
import { eventOfCall } from './event-of-call.js';
import { keyedLock } from './keyed-lock.js';
import type { LogEnd } from './log-end.js';
import { type OwnWrites, outputKey } from './own-writes.js';
import type { DamagedJobs } from './reading/damaged-jobs.js';
import { evolveRecorded, isJobDamaged, jobDamaged } from './reading/evolve-recorded.js';
import { type JobFacts, permitted, readable, uuidFor } from './reading/permit.js';

/** How many bytes of jobs are remembered, counted as their events are stored. */
const rememberedBytes = 64 * 1024 * 1024;

/**
 * Where jobs are answered with unread: how long after the last look at its stream there is another one, in milliseconds, and how long
 * after any other look. That somebody deleted or truncated a stream is nowhere in the log.
 */
const lookAgainAfter = 10_000;
const betweenLooks = 20;

/** What a command did. */
export type Executed = {
  /** The job after it. */
  readonly record: JobRecord;
  /** Whoever has read up to here sees it. */
  readonly position: Position;
  /** False if the job was already as the command wanted it. */
  readonly changed: boolean;
  /** What was recorded. */
  readonly events: readonly JobEvent[];
};

const ofJobs = jobStream('');

/** Jobs as their streams tell them, never older than the log. */
export type JobStreams = {
  /** The same as `load` gives, if that is known without reading; undefined otherwise. */
  current(uuid: string): JobRecord | undefined;
  /**
   * The job as it was when this server was at the end of the log lately, or later, if that is known without reading: everything of then is
   * before or at `position`, to which the read model has come. Not where the store is this process's alone, nor for who wants it as it is now.
   */
  unread(uuid: string, position: Position): Unread | undefined;
  /** The job as it is now, deleted or not; undefined if there is none. */
  load(uuid: string): Promise<JobRecord | undefined>;
  /**
   * As `load` for a caller: a job that the caller may not know of is not read, and looked up as one that does not exist. `kind` is that of the
   * command that is meant, if any.
   */
  loadFor(caller: Caller, uuid: string, kind?: Command['kind']): Promise<JobRecord | undefined>;
  /**
   * The job as it is now, for a caller who may read it.
   * @throws MemoirError NOT_FOUND if there is no such job or the caller may not know of it
   */
  read(caller: Caller, uuid: string): Promise<JobRecord>;
  /**
   * Carries a command out on a job as it is now.
   * @throws MemoirError NOT_FOUND if there is no such job or the caller may not know of it, PERMISSION_DENIED if the caller may
   * not do that, or what `decide` refuses it with
   */
  execute(caller: Caller, uuid: string, command: Command): Promise<Executed>;
  /**
   * Records a new job.
   * @throws WrongExpectedRevision if the job exists already
   */
  request(caller: Caller, requested: JobRequested): Promise<Executed>;
};

/** A job that was not read, and how long ago this server may have been at the end of the log, in milliseconds. */
export type Unread = { readonly record: JobRecord; readonly within: number };

/** What tells of jobs that are remembered without a read of their streams. */
export type UnreadContext = {
  readonly logEnd: LogEnd;
  readonly readModel: Pick<ReadModel, 'onTouched'> & {
    readonly jobs: Pick<ReadModel['jobs'], 'revision'>;
    readonly tombstones: Pick<ReadModel['tombstones'], 'has'>;
  };
  /** Those that this process found. */
  readonly damaged: Pick<DamagedJobs, 'noted'>;
};

type Known = {
  readonly record: JobRecord;
  readonly bytes: number;
  /** When its stream was last looked at, by a clock of milliseconds. */
  looked: number;
  /** Between which changes of everything it was found as new as the read model, which told of no event of the job since; absent if it is to be compared. */
  asNewIn?: number | undefined;
};

/**
 * Reads and writes the streams of jobs. `written` is told of every write, under the job's computation digest. `facts` tell who may
 * know of a job before it is read; `onDamaged` is told of each that is found damaged. Where nobody else writes the store, a job that is
 * remembered is not read again; elsewhere `lately` tells when it need not be.
 */
export function openJobStreams(
  store: EventStore,
  edge: Edge,
  serverVersion: string,
  written: OwnWrites,
  facts: JobFacts,
  onDamaged: (uuid: string) => void = () => undefined,
  lately?: UnreadContext,
): JobStreams {
  const known = new LRUCache<string, Known>({
    maxSize: rememberedBytes,
    sizeCalculation: ({ bytes }) => bytes + 1_000,
  });

  let lastLook = Number.NEGATIVE_INFINITY;

  // So that local callers never collide, however many change one job at once.
  const serially = keyedLock();

  async function load(uuid: string): Promise<JobRecord | undefined> {
    try {
      return await loadWhole(uuid);
    } catch (error) {
      if (isJobDamaged(error)) onDamaged(uuid);
      throw error;
    }
  }

  async function loadWhole(uuid: string): Promise<JobRecord | undefined> {
    const before = known.get(uuid);
    if (before && store.exclusive) return before.record;
    let record = before?.record;
    let bytes = before?.bytes ?? 0;
    const begun = edge.monotonic();
    try {
      // From the last one that is known: if that is gone, somebody deleted or truncated the stream meanwhile.
      let there = before === undefined;
      for await (const recorded of store.readStream(jobStream(uuid), before?.record.streamRevision ?? 0)) {
        if (recorded.revision === before?.record.streamRevision) {
          there = true;
          continue;
        }
        record = evolveRecorded(record, recorded);
        bytes += recorded.data.length;
      }
      if (!there) throw jobDamaged(uuid);
    } catch (error) {
      known.delete(uuid);
      throw error instanceof StreamDeleted ? jobDamaged(uuid, error) : error;
    }
    if (record) remember(record, bytes, begun);
    // What the read model came to is in the log: if its stream has no event, somebody deleted or truncated it.
    else if (facts.jobs.facts(uuid)) throw jobDamaged(uuid);
    return record;
  }

  const loadFor = (caller: Caller, uuid: string, kind?: Command['kind']) =>
    load(uuidFor(caller.access, facts, uuid, kind));

  function remember(record: JobRecord, bytes: number, looked: number): void {
    const other = known.peek(record.job.uuid);
    const newest = other && other.record.streamRevision >= record.streamRevision ? other : { record, bytes };
    known.set(record.job.uuid, { ...newest, looked: Math.max(looked, other?.looked ?? looked) });
  }

  /** Looks behind the answer whether the stream of a job is still there, so that it is read the next time, and found damaged, if not. */
  function lookAgain(uuid: string, one: Known): void {
    const now = edge.monotonic();
    if (now - one.looked < lookAgainAfter || now - lastLook < betweenLooks) return;
    lastLook = now;
    one.looked = now;
    load(uuid).catch(() => undefined);
  }

  /** How often anything may have changed, so that all is to be compared again. */
  let changes = 0;
  lately?.readModel.onTouched(({ any, streams }) => {
    if (any) changes++;
    for (const stream of streams) {
      const one = stream.startsWith(ofJobs) ? known.peek(uuidOfJobStream(stream)) : undefined;
      if (one) one.asNewIn = undefined;
    }
  });

  /**
   * Whether what is remembered of a job is as new as what the read model has, which is what the log told up to its position, and the log does not say that
   * the stream was deleted for good.
   */
  function isAsNew(uuid: string, one: Known, { jobs, tombstones }: UnreadContext['readModel']): boolean {
    if (one.asNewIn === changes) return true;
    const revision = jobs.revision(uuid);
    if (revision === undefined || one.record.job.revision < revision || tombstones.has(uuid)) return false;
    one.asNewIn = changes;
    return true;
  }

  function unread(uuid: string, position: Position): Unread | undefined {
    if (!lately?.logEnd.isBefore(position) || lately.damaged.noted(uuid)) return undefined;
    const one = known.get(uuid);
    if (!one) return undefined;
    lookAgain(uuid, one);
    return isAsNew(uuid, one, lately.readModel) ? { record: one.record, within: lately.logEnd.within } : undefined;
  }

  async function append(
    caller: Caller,
    uuid: string,
    record: JobRecord | undefined,
    events: readonly JobEvent[],
  ): Promise<Executed> {
    const encoded = events.map((event) => eventOfCall({ edge, serverVersion }, caller, event));
    const before = known.peek(uuid);
    // An append to a stream that was truncated is taken: only its first proves that it is whole.
    const looked = record ? (before?.looked ?? Number.NEGATIVE_INFINITY) : edge.monotonic();
    let bytes = before?.bytes ?? 0;
    for (const { data } of encoded) bytes += data.length;
    const expected = record ? record.streamRevision : 'no_stream';
    try {
      const { position } = await store.append(jobStream(uuid), expected, encoded);
      let after = record;
      for (const [i, event] of events.entries()) {
        after = evolve(after, event, after ? after.streamRevision + 1 : 0, (encoded[i] as NewEvent).id);
      }
      const now = after as JobRecord;
      remember(now, bytes, looked);
      if (events.some(changesCandidate)) written.note(now.job.computationDigest, position);
      for (const event of events) {
        if (event.$typeName !== 'memoir.events.v1.JobCompleted') continue;
        for (const address of addressesOf(event)) written.note(outputKey(address), position);
      }
      return { record: now, position, changed: true, events };
    } catch (error) {
      // What is remembered may be out of date, or what was appended may be there although the answer was lost.
      known.delete(uuid);
      throw error;
    }
  }

  async function attempt(caller: Caller, uuid: string, command: Command): Promise<Executed> {
    const record = permitted(caller, uuid, await loadFor(caller, uuid, command.kind), command);
    const events = decide(record, command);
    if (events instanceof MemoirError) throw events;
    if (events.length === 0) return { record, position: await store.end(), changed: false, events };
    return append(caller, uuid, record, events);
  }

  function attempts(caller: Caller, uuid: string, command: Command): Promise<Executed> {
    return decidedAgain(`job ${uuid} is being changed by others`, () => attempt(caller, uuid, command));
  }

  return {
    unread,
    load,
    loadFor,
    read: async (caller, uuid) => readable(caller, uuid, await loadFor(caller, uuid)),
    current: (uuid) => (store.exclusive ? known.get(uuid)?.record : undefined),
    request: (caller, requested) => append(caller, requested.uuid, undefined, [requested]),
    // The lock is that of what the caller may know of, so that nobody waits for changes of a hidden job.
    execute: (caller, uuid, command) =>
      serially(uuidFor(caller.access, facts, uuid, command.kind), () => attempts(caller, uuid, command)),
  };
}

/** Whether an event may change what the rules of reuse look at: that others want a job too, or no longer, does not. */
function changesCandidate({ $typeName }: JobEvent): boolean {
  return $typeName !== 'memoir.events.v1.JobJoined' && $typeName !== 'memoir.events.v1.JobLeft';
}
