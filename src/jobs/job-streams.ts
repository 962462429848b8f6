import { LRUCache } from 'lru-cache';
import type { Command } from '../domain/commands.js';
import { MemoirError, quote } from '../domain/errors.js';
import { decide, evolve, type JobRecord } from '../domain/job.js';
import { jobStream } from '../domain/streams.js';
import type { Edge } from '../edge.js';
import { decodeJobEvent, encodeEvent } from '../eventstore/codec.js';
import { type EventStore, metadataJson, type Position, WrongExpectedRevision } from '../eventstore/port.js';
import type { Caller } from './context.js';

/** How often a command is decided again after others changed the job meanwhile. */
const maxAttempts = 20;

/** How many jobs are remembered, so that only what is new of their streams is read. */
const remembered = 20_000;

/** What a command did. */
export type Executed = {
  /** The job after it. */
  readonly record: JobRecord;
  /** Whoever has read up to here sees it. */
  readonly position: Position;
  /** False if the job was already as the command wanted it. */
  readonly changed: boolean;
};

/** Jobs as their streams tell them, never older than the log. */
export type JobStreams = {
  /** The job as it is now, deleted or not; undefined if there is none. */
  load(uuid: string): Promise<JobRecord | undefined>;
  /**
   * Carries a command out on a job as it is now.
   * @throws MemoirError NOT_FOUND if there is no such job, or what `decide` refuses it with
   */
  execute(caller: Caller, uuid: string, command: Command): Promise<Executed>;
  /** Takes note of a job that was just recorded. */
  remember(record: JobRecord): void;
  /**
   * The job as this process last saw it, without reading: never older than what this process wrote, unless it was forgotten,
   * and maybe older than what others wrote. Undefined if it is not remembered.
   */
  recall(uuid: string): JobRecord | undefined;
};

/** The NOT_FOUND for a job that does not exist, was deleted, or may not be read. */
export function jobNotFound(uuid: string): MemoirError {
  return new MemoirError('NOT_FOUND', 'JOB_NOT_FOUND', `there is no job ${quote(uuid)}`, { field: 'uuid' });
}

/** Reads and writes the streams of jobs. */
export function openJobStreams(store: EventStore, edge: Edge, serverVersion: string): JobStreams {
  const known = new LRUCache<string, JobRecord>({ max: remembered });

  async function load(uuid: string): Promise<JobRecord | undefined> {
    let record = known.get(uuid);
    let fresh = false;
    for await (const recorded of store.readStream(jobStream(uuid), record ? record.job.revision + 1 : 0)) {
      record = evolve(record, decodeJobEvent(recorded), recorded.revision);
      fresh = true;
    }
    if (record && fresh) remember(record);
    return record;
  }

  function remember(record: JobRecord): void {
    const older = known.peek(record.job.uuid);
    if (!older || older.job.revision <= record.job.revision) known.set(record.job.uuid, record);
  }

  async function attempt(caller: Caller, uuid: string, command: Command): Promise<Executed> {
    const record = await load(uuid);
    if (!record || record.deleted) throw jobNotFound(uuid);
    const events = decide(record, command);
    if (events instanceof MemoirError) throw events;
    if (events.length === 0) return { record, position: await store.end(), changed: false };
    const metadata = metadataJson({ ...caller, serverVersion });
    const { position } = await store.append(
      jobStream(uuid),
      record.job.revision,
      events.map((event) => encodeEvent(edge.uuid(), event, metadata)),
    );
    const after = events.reduce((at: JobRecord, event) => evolve(at, event, at.job.revision + 1), record);
    remember(after);
    return { record: after, position, changed: true };
  }

  return {
    load,
    remember,
    recall: (uuid) => known.peek(uuid),
    async execute(caller, uuid, command) {
      for (let i = 0; i < maxAttempts; i++) {
        try {
          return await attempt(caller, uuid, command);
        } catch (error) {
          if (!(error instanceof WrongExpectedRevision)) throw error;
        }
      }
      throw new MemoirError('ABORTED', 'CONTENTION', `job ${uuid} is being changed by others all the time; try again`);
    },
  };
}
