import type { Subjects } from '../../projections/history/log-subjects.js';
import { type Access, permission } from '../domain/access.js';
import { jobUuid } from '../domain/computation.js';
import { MemoirError, quote } from '../domain/errors.js';
import type { MemoirEvent } from '../domain/events.js';
import { jobStream, reuseStream, uuidOfAnyJobStream } from '../domain/streams.js';
import { givenOf } from '../eventstore/foreign.js';
import { type Position, principalOf, type RecordedEvent, start } from '../eventstore/port.js';
import type { JobsContext } from '../jobs/context.js';
import { jobNotFound } from '../jobs/reading/permit.js';
import { type EventFacts, factsOf } from './event-facts.js';
import { mayRead } from './may-read.js';
import { mergeEvents, type Source } from './merge-events.js';
import { positionBefore } from './position-before.js';
import { upToDate } from './up-to-date.js';

/** Which events of the log to read: those that meet every condition. */
export type HistoryQuery = {
  readonly uuid?: string | undefined;
  readonly computationDigest?: string | undefined;
  readonly repository?: string | undefined;
  readonly principal?: string | undefined;
  /** The log from the first event on that was recorded at this time or later, in milliseconds since 1970-01-01T00:00Z. */
  readonly since?: number | undefined;
  /** The log before the first event that was recorded at this time or later. */
  readonly until?: number | undefined;
  readonly after: Position;
};

/** Positions that are looked up at once. */
const pageSize = 256;

type Context = Pick<JobsContext, 'store' | 'readModel' | 'history' | 'edge'>;

/** An event, and what it says; undefined if this version does not know its type. */
export type GivenEvent = RecordedEvent & { readonly event: MemoirEvent | undefined };

/** The section of the log after `after`, up to `last`. */
type Section = { readonly after: Position; readonly last: Position };

/**
 * The events that meet a query and that a principal may read when they are given (`accessNow`), in the order of the log up to its end now, without those of live logs.
 * @throws MemoirError NOT_FOUND if there is no such job or no job of the computation, UNAVAILABLE if the history is not up to date
 */
export async function* readHistory(
  context: Context,
  accessNow: () => Access,
  query: HistoryQuery,
  signal: AbortSignal,
): AsyncGenerator<GivenEvent> {
  const { store, readModel } = context;
  const last = await store.end();
  await upToDate(readModel, last, signal);
  const section = await sectionOf(context, query, last);
  for await (const recorded of candidates(context, accessNow(), query, section, signal)) {
    if (signal.aborted) return;
    if (recorded.position > section.last) return;
    if (recorded.position <= section.after || recorded.type === 'JobLogAppended') continue;
    const facts = factsOf(readModel, recorded);
    if (!facts.readableBy(accessNow()) || !meets(query, recorded, facts)) continue;
    const given = givenOf(recorded);
    if (given) yield { ...recorded, ...given };
  }
}

async function sectionOf(context: Context, { since, until, after }: HistoryQuery, end: Position): Promise<Section> {
  const first = since === undefined ? start : await positionBefore(context, since);
  const last = until === undefined ? end : Math.min(end, await positionBefore(context, until));
  return { after: Math.max(after, first), last };
}

/** Events in the order of the log, among which are all that meet the query in the section. */
async function* candidates(
  context: Context,
  access: Access,
  { uuid, computationDigest, repository, principal }: HistoryQuery,
  { after, last }: Section,
  signal: AbortSignal,
): AsyncGenerator<RecordedEvent> {
  const { store, history } = context;
  if (uuid !== undefined || computationDigest !== undefined) {
    const jobs =
      uuid === undefined ? jobsOf(context, access, computationDigest ?? '') : [readableJob(context, access, uuid)];
    yield* mergeEvents(sourcesOf(context, jobs));
  } else if (repository !== undefined && !access.knows(repository)) {
    await upToDate(history, last, signal);
    yield* mergeEvents(sourcesOf(context, await ownJobsOf(context, access, repository, last)));
  } else if (repository !== undefined || principal !== undefined) {
    await upToDate(history, last, signal);
    const found = subjectPages(history, { repository, principal }, { after, last });
    yield* eventsOf(context, found, repository === undefined ? mayRead(context, access) : undefined);
  } else if (access.readsAll) yield* store.readAll(after);
  else {
    await upToDate(history, last, signal);
    yield* eventsOf(context, logPages(history, { after, last }), mayRead(context, access));
  }
}

/** Where the events about some subjects are, in pieces. */
function* subjectPages(
  { subjects }: Context['history'],
  about: Subjects,
  { after, last }: Section,
): Generator<readonly Position[]> {
  for (let from = after; ; ) {
    const positions = subjects.positions(about, from, last, pageSize);
    yield positions;
    from = positions.at(-1) ?? from;
    if (positions.length < pageSize) return;
  }
}

/** Where all events are, in pieces. */
function* logPages({ tree }: Context['history'], { after, last }: Section): Generator<readonly Position[]> {
  for (let from = after; from < last; ) {
    const positions = tree.positionsAfter(from);
    if (positions.length === 0) return;
    yield positions;
    from = positions.at(-1) ?? from;
  }
}

/** The events at some positions, those that may be read alone where others are among them. */
async function* eventsOf(
  { store }: Pick<Context, 'store'>,
  pages: Iterable<readonly Position[]>,
  readable: (position: Position) => boolean = () => true,
): AsyncGenerator<RecordedEvent> {
  for (const positions of pages) yield* eventsAt(store, positions.filter(readable));
}

/**
 * Of a repository that the principal may not know of, the jobs that it may read all the same: those that it requested or claimed, which
 * its own events tell. So nothing that others did there is read.
 */
async function ownJobsOf(
  context: Context,
  access: Access,
  repository: string,
  last: Position,
): Promise<JobOfHistory[]> {
  const jobs = new Map<string, JobOfHistory>();
  const own = { repository, principal: access.principal };
  for await (const { stream } of eventsOf(context, subjectPages(context.history, own, { after: start, last }))) {
    const uuid = uuidOfAnyJobStream(stream);
    const job = uuid === undefined || jobs.has(uuid) ? undefined : jobIfReadable(context, access, uuid);
    if (job) jobs.set(job.uuid, job);
  }
  const beginOf = ({ uuid }: JobOfHistory) => context.readModel.lineage.position(uuid) ?? start;
  return [...jobs.values()].sort((one, other) => beginOf(one) - beginOf(other));
}

type JobOfHistory = { readonly uuid: string; readonly repository: string };

/** The job, if there is one that the principal may read. */
function jobIfReadable({ readModel }: Context, access: Access, uuid: string): JobOfHistory | undefined {
  const facts = readModel.jobs.facts(uuid);
  if (!facts || permission(access, facts, 'read') !== 'granted') return undefined;
  return { uuid, repository: facts.repository };
}

function readableJob(context: Context, access: Access, uuid: string): JobOfHistory {
  const job = jobIfReadable(context, access, uuid);
  if (!job) throw jobNotFound(uuid);
  return job;
}

/** The jobs of a computation that the principal may read, oldest first. */
function jobsOf(context: Context, access: Access, digest: string): JobOfHistory[] {
  const jobs: JobOfHistory[] = [];
  const runs = context.readModel.candidates.lastRun(digest);
  for (let run = 1; run <= runs; run++) {
    const job = jobIfReadable(context, access, jobUuid(digest, run));
    if (job) jobs.push(job);
  }
  if (jobs.length > 0) return jobs;
  const message = `there is no job of computation ${quote(digest)}`;
  throw new MemoirError('NOT_FOUND', 'COMPUTATION_NOT_FOUND', message, { field: 'computation_digest' });
}

/** What was recorded of each job, by where it begins in the log. */
function* sourcesOf({ store, readModel }: Context, jobs: readonly JobOfHistory[]): Generator<Source> {
  for (const { uuid, repository } of jobs) {
    const from = readModel.lineage.position(uuid) ?? start;
    const exclusions = readModel.exclusions.positionsOfJob(repository, uuid);
    yield { from, read: () => store.readStream(jobStream(uuid)) };
    yield { from, read: () => store.readStream(reuseStream(uuid)) };
    if (exclusions.length > 0) yield { from, read: () => eventsAt(store, exclusions) };
  }
}

/** The events at some positions, looked up together, since a store behind a network takes its time for each. */
async function* eventsAt(store: Context['store'], positions: readonly Position[]): AsyncGenerator<RecordedEvent> {
  for (let i = 0; i < positions.length; i += 32) {
    const found = await Promise.all(positions.slice(i, i + 32).map((position) => store.eventAt(position)));
    for (const recorded of found) if (recorded) yield recorded;
  }
}

function meets({ uuid, repository, principal }: HistoryQuery, recorded: RecordedEvent, facts: EventFacts): boolean {
  if (repository !== undefined && facts.repository !== repository) return false;
  if (principal !== undefined && principalOf(recorded) !== principal) return false;
  // A job's exclusions are in a stream of the repository, where they were looked up for the job.
  const of = uuidOfAnyJobStream(recorded.stream);
  return uuid === undefined || of === undefined || of === uuid;
}
