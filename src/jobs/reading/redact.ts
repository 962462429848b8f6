import type { Decision } from '../../../gen/memoir/jobs/v1/decision_pb.js';
import { Outcome, Rule } from '../../../gen/memoir/jobs/v1/decision_pb.js';
import type { Input } from '../../../gen/memoir/jobs/v1/input_pb.js';
import type { Job } from '../../../gen/memoir/jobs/v1/job_pb.js';
import { type Access, permission } from '../../domain/access.js';
import type { MemoirEvent } from '../../domain/events.js';
import { toldOffer } from '../../domain/placement/recorded-offer.js';
import type { JobFacts } from './permit.js';

// What an event or a job holds was put there by one caller, who may have known more than whoever reads it. This is what is left of
// it for a reader. Nothing is altered in place: what is given may be shared.

/** Who reads, and whose jobs are whose. */
export type Reader = { readonly access: ReaderAccess; readonly facts: JobFacts };

/** What is looked at in the access of who reads. */
export type ReaderAccess = Omit<Access, 'submits' | 'submitsSome' | 'bounds' | 'places' | 'worksAll' | 'delegates'>;

/** Whether a reader may read the job with a uuid. What is no job is as one that may not be read. */
function sees({ access, facts }: Reader, uuid: string): boolean {
  if (access.readsAll) return true;
  const job = facts.jobs.facts(uuid);
  return job !== undefined && permission(access, job, 'read') === 'granted';
}

/**
 * The job as a reader may know it: components that it may not read keep their name alone, except for the job's owner, and who else is
 * waiting is told to who administers the repository.
 */
export function redactJob(reader: Reader, given: Job): Job {
  const { access } = reader;
  const job = withOwnInterests(access, given);
  if (access.readsAll || job.owner === access.principal) return job;
  const components = redactComponents(reader, job.components);
  const retryOf = redactUuid(reader, job.retryOf);
  const checkOf = redactUuid(reader, job.checkOf);
  const inputs = redactInputs(reader, job.inputs);
  const same = retryOf === job.retryOf && checkOf === job.checkOf && inputs === job.inputs;
  return same && components === job.components ? job : { ...job, components, retryOf, checkOf, inputs };
}

function withOwnInterests(access: ReaderAccess, job: Job): Job {
  const { principal } = access;
  const { interests, cancelledBy } = job;
  const isOwn = (one: { readonly principal: string }) => one.principal === principal;
  const knowsWhoCancelled = cancelledBy === '' || cancelledBy === principal || cancelledBy === job.owner;
  if ((knowsWhoCancelled && interests.every(isOwn)) || access.administers(job.repository)) return job;
  return { ...job, interests: interests.filter(isOwn), cancelledBy: knowsWhoCancelled ? cancelledBy : '' };
}

/** Whether a reader may know who is waiting for a job, and who was answered with it. */
function knowsWho({ access, facts }: Reader, uuid: string): boolean {
  if (access.administersAll) return true;
  const job = facts.jobs.facts(uuid);
  return job !== undefined && access.administers(job.repository);
}

/**
 * The event, recorded on behalf of a principal, as a reader may know it. What a decision was taken from is for audits of the log alone;
 * all else is whole for whoever reads all, and for the principal itself, who was told it before; but who wants a job is for itself and for who
 * administers the repository. `uuid` is that of the job in whose stream it is, if any.
 */
export function redactEvent(reader: Reader, principal: string, event: MemoirEvent, uuid = ''): MemoirEvent {
  const told = withoutNext(reader, redactContent(reader, principal, event), uuid);
  return hidesCaller(reader, principal, event, uuid) ? withoutWho(told) : told;
}

/**
 * Whether it is not for a reader to know on whose behalf an event of a job was recorded, since it tells who wants the job, or was answered with
 * it. That is for oneself and for who administers the repository.
 */
export function hidesCaller(reader: Reader, principal: string, event: MemoirEvent, uuid: string): boolean {
  return tellsWho.has(event.$typeName) && reader.access.principal !== principal && !knowsWho(reader, uuid);
}

/** Types of the events that anybody who wants a job may cause, beside its owner and who administers its repository. */
const tellsWho: ReadonlySet<string> = new Set(
  ['JobReused', 'JobJoined', 'JobLeft', 'JobUpdated', 'JobDeleted', 'JobCancelled'].map(
    (name) => `memoir.events.v1.${name}`,
  ),
);

/** Whose turn a job takes after somebody left is not for who left. */
function withoutNext(reader: Reader, event: MemoirEvent, uuid: string): MemoirEvent {
  if (event.$typeName !== 'memoir.events.v1.JobLeft' || event.turnOf === '') return event;
  if (event.turnOf === reader.access.principal || knowsWho(reader, uuid)) return event;
  const { turnWeight: _, ...rest } = event;
  return { ...rest, turnOf: '' };
}

function withoutWho(event: MemoirEvent): MemoirEvent {
  switch (event.$typeName) {
    case 'memoir.events.v1.JobReused':
      return { ...event, requestedBy: '', submitId: '', requestDigest: '', labels: {} };
    case 'memoir.events.v1.JobJoined':
      return { ...event, interest: '', principal: '', submitId: '', requestDigest: '', labels: {} };
    case 'memoir.events.v1.JobLeft':
      return { ...event, interest: '', principal: '' };
    case 'memoir.events.v1.JobUpdated':
      return { ...event, interest: '', updatedBy: '' };
    case 'memoir.events.v1.JobDeleted':
      return { ...event, deletedBy: '' };
    case 'memoir.events.v1.JobCancelled':
      return { ...event, cancelledBy: '' };
    default:
      return event;
  }
}

function redactContent(reader: Reader, principal: string, event: MemoirEvent): MemoirEvent {
  const whole = reader.access.readsAll || reader.access.principal === principal;
  switch (event.$typeName) {
    case 'memoir.events.v1.JobRequested': {
      const { basis: _, ...told } = event;
      if (whole) return told;
      return {
        ...told,
        retryOf: redactUuid(reader, event.retryOf),
        checkOf: redactUuid(reader, event.checkOf),
        components: redactComponents(reader, event.components),
        inputs: redactInputs(reader, event.inputs),
        ...redactDecided(reader, event),
      };
    }
    case 'memoir.events.v1.JobReused': {
      const { basis: _, ...told } = event;
      // How somebody calls what it wants is its own affair.
      return whole ? told : { ...told, labels: {}, ...redactDecided(reader, event, withoutInputs) };
    }
    case 'memoir.events.v1.JobJoined': {
      const { basis: _, ...told } = event;
      return whole ? told : { ...told, labels: {}, ...redactDecided(reader, event, withoutInputs) };
    }
    case 'memoir.events.v1.SubmissionIntended':
      return { ...event, answer: { case: undefined } };
    case 'memoir.events.v1.JobRetryIntended': {
      if (whole || (sees(reader, event.retryOf) && sees(reader, event.uuid))) return event;
      return { ...event, retryOf: '', uuid: '', runNumber: 0, owner: '' };
    }
    case 'memoir.events.v1.JobStarted':
      // By the digest of a weak claim token the token could be guessed.
      return { ...event, claimTokenDigest: '' };
    case 'memoir.events.v1.WorkerSeen': {
      const { offer } = event;
      if (!offer || offer.secrets.length === 0 || reader.access.administersAll) return event;
      return { ...event, offer: toldOffer(offer) };
    }
    case 'memoir.events.v1.RepositoryAdded':
      // Where a repository is, is for who administers it.
      if (reader.access.administers(event.name)) return event;
      return { ...event, path: '', url: '', credential: '' };
    case 'memoir.events.v1.JobUpdated': {
      if (whole || !event.components) return event;
      const uuids = redactComponents(reader, event.components.uuids);
      return { ...event, components: { ...event.components, uuids } };
    }
    case 'memoir.events.v1.JobCancelled':
      return whole || event.cascadeFrom === '' || sees(reader, event.cascadeFrom)
        ? event
        : { ...event, cascadeFrom: '' };
    default:
      return event;
  }
}

/** Whether `redactEvent` may leave something out of the event for somebody, apart from what it leaves out for all. */
export function holdsSecrets(event: MemoirEvent): boolean {
  switch (event.$typeName) {
    case 'memoir.events.v1.JobRequested':
      return (
        hasSecrets(event.decision) ||
        event.retryOf !== '' ||
        event.checkOf !== '' ||
        Object.keys(event.components).length > 0 ||
        event.inputs.some(({ job }) => job !== '')
      );
    case 'memoir.events.v1.JobRetryIntended':
    case 'memoir.events.v1.RepositoryAdded':
      return true;
    case 'memoir.events.v1.WorkerSeen':
      return event.offer !== undefined && event.offer.secrets.length > 0;
    default:
      return tellsWho.has(event.$typeName);
  }
}

function hasSecrets(decision: Decision | undefined): boolean {
  return decision !== undefined && (decision.candidateCount > 0 || decision.resolutions.some(isOfFilter));
}

/** The uuid of a job, if there is one that the reader may read. */
function redactUuid(reader: Reader, uuid: string): string {
  return uuid === '' || sees(reader, uuid) ? uuid : '';
}

type Components = Record<string, string>;

function redactComponents(reader: Reader, components: Components): Components {
  let told: Components | undefined;
  for (const [name, uuid] of Object.entries(components)) {
    if (sees(reader, uuid)) continue;
    told ??= { ...components };
    told[name] = '';
  }
  return told ?? components;
}

/** Inputs without the jobs that gave them which the reader may not read. */
function redactInputs(reader: Reader, inputs: Input[]): Input[] {
  if (inputs.every(({ job }) => job === '' || sees(reader, job))) return inputs;
  return inputs.map((input) => (input.job === '' || sees(reader, input.job) ? input : { ...input, job: '' }));
}

/** An event with a decision: of what job, and whether it was taken with filters, undefined where the event is too old to tell. */
type Decided = {
  readonly uuid: string;
  readonly decision?: Decision | undefined;
  readonly basis?: { readonly filters: readonly unknown[] } | undefined;
};

/**
 * The decision of an event. Without filters its candidates are the runs of one computation, all of one repository; with them they may be
 * of any. Unless the reader may read all of them, it is told of those that it may read and that were ruled out by what they are
 * themselves, without counts. Whoever does not see it in the job's own inputs is not told by the rule on them which content its caller knows.
 */
function redactDecided(
  reader: Reader,
  { uuid, decision: given, basis }: Decided,
  leaveOut: (decision: Decision) => Decision = (decision) => decision,
): { decision?: Decision } {
  if (!given) return {};
  const decision = leaveOut(given);
  const ofOneRepository = basis !== undefined && basis.filters.length === 0;
  const readsAll = (ofOneRepository && knowsRepositoryOf(reader, uuid)) || readsAllOf(reader, given);
  const all = readsAll && decision === given;
  const resolutions = decision.resolutions.filter((one) => !isOfFilter(one));
  const candidates = decision.candidates
    .filter((candidate) => all || (!relative.has(candidate.ruledOutBy) && sees(reader, candidate.uuid)))
    .map((candidate) => ({ ...candidate, detail: redactDetail(candidate) }));
  if (all) return { decision: { ...decision, resolutions, candidates } };
  const { length: candidateCount } = candidates;
  return {
    decision: { ...decision, resolutions, candidates, candidateCount, funnel: [], summary: bareSummary(decision) },
  };
}

/** A decision as if those that the rule on inputs ruled out had not been there; the same if it ruled out none. */
function withoutInputs(decision: Decision): Decision {
  const candidates = decision.candidates.filter(({ ruledOutBy }) => ruledOutBy !== Rule.INPUTS);
  const none =
    candidates.length === decision.candidates.length && !decision.funnel.some(({ rule }) => rule === Rule.INPUTS);
  return none ? decision : { ...decision, candidates };
}

/** Rules that compare a candidate with others. */
const relative: ReadonlySet<Rule> = new Set([Rule.OUTPUTS_DIFFER, Rule.NOT_PREFERRED, Rule.SUPERSEDED]);

function knowsRepositoryOf({ access, facts }: Reader, uuid: string): boolean {
  const job = facts.jobs.facts(uuid);
  return job !== undefined && access.knows(job.repository);
}

function readsAllOf(reader: Reader, { candidates, candidateCount }: Decision): boolean {
  return candidates.length === candidateCount && candidates.every(({ uuid }) => sees(reader, uuid));
}

/** A name in a filter of the request, whose repository only its principal may know of. */
function isOfFilter({ field }: Decision['resolutions'][number]): boolean {
  return field.startsWith('filters[');
}

/** How the text begins of an exclusion that hits a candidate itself, which whoever may read that may know. */
const hitItself = 'it is under exclusion ';

function redactDetail({ ruledOutBy, detail }: Decision['candidates'][number]): string {
  if (ruledOutBy === Rule.FILTER) return 'it does not match a filter of the request';
  if (ruledOutBy !== Rule.EXCLUDED || detail.startsWith(hitItself)) return detail;
  return 'it, or what it took, is under an exclusion';
}

function bareSummary({ outcome, uuid, summary }: Decision): string {
  if (outcome === Outcome.CREATED_NO_MATCH) return 'a new job, since no job could be reused';
  return outcome === Outcome.CREATED_AS_ASKED || summary.includes(uuid) ? summary : '';
}
