import type { MemoirEvent } from './events.js';

/**
 * Highest format of the log that this version reads and writes. It is raised together with an entry of `needs`. An event that needs
 * a format above 1 has the number in its metadata, so that a server that does not know it stops instead of passing over it.
 */
export const newestFormat = 4;

/** That an event cannot be left out or misread without harm by a version of Memoir that does not know the format. */
export type Need = {
  readonly format: number;
  /** Bare name of the event. */
  readonly event: string;
  /**
   * Field of the event, in the spelling of its TypeScript type, that needs the format where it is set, with those that it is in before it and dots
   * between; absent: the event as such.
   */
  readonly field?: string;
  /** Field of the group `field` that needs the format where it is the one that is set; absent: any. */
  readonly member?: string;
};

/**
 * Everything that needs a format above 1. What is new gets an entry here if a server of an earlier version would go wrong by not
 * knowing it: would decide otherwise, or would change what it must not. What such a server may pass over needs none.
 */
export const needs: readonly Need[] = [
  // Whoever passes over them gives run numbers again, and takes tokens of a log that is no more.
  { format: 2, event: 'GenerationStarted' },
  { format: 2, event: 'RunNumbersTaken' },
  // Who passes it over answers a submit_id that was answered already with another job.
  { format: 2, event: 'SubmissionIntended' },
  // Who passes it over believes what nobody has signed, and records what all others pass over.
  { format: 3, event: 'SigningKeysChanged' },
  // Who passes them over takes a job for finished that is tried again, for claimed by a worker that lost it, or for wanted by one alone.
  { format: 4, event: 'JobAttemptEnded' },
  { format: 4, event: 'JobResumed' },
  { format: 4, event: 'JobJoined' },
  { format: 4, event: 'JobLeft' },
  // Takes the priority of one interest for that of the job.
  { format: 4, event: 'JobUpdated', field: 'interest' },
  // Gives the job to a worker that may not have it, or lets it run for ever.
  { format: 4, event: 'JobRequested', field: 'limits' },
  { format: 4, event: 'JobRequested', field: 'requiredLabels' },
  // Gives the job to workers without what it is to be given.
  { format: 4, event: 'JobRequested', field: 'inputs' },
  // Gives the job to a worker without its secrets, and its result to who asks for others.
  { format: 4, event: 'JobRequested', field: 'secrets' },
  // Answers with what is a second run to compare.
  { format: 4, event: 'JobRequested', field: 'checkOf' },
  // Lets the job see all of its commit, and takes its result for one of all.
  { format: 4, event: 'JobRequested', field: 'codePaths' },
  // Answers with what it is to be the answer in the place of.
  { format: 4, event: 'JobRequested', field: 'supersede' },
  // Gives the job to a worker without them.
  { format: 4, event: 'JobRequested', field: 'unhashedParameters' },
  // Answers a submit_id that was answered already with another job.
  { format: 4, event: 'SubmissionIntended', field: 'answer', member: 'joined' },
  // Answers with what was taken out of reuse.
  { format: 4, event: 'ExcludedFromReuse', field: 'exclusion.target', member: 'worker' },
  // Reuses jobs that gave the same files under another address.
  { format: 4, event: 'ExcludedFromReuse', field: 'exclusion.outputV1' },
  // Runs a job again that is run again already.
  { format: 4, event: 'JobRetryIntended' },
  // Gives out jobs that are not to be given.
  { format: 4, event: 'WorkerDrained' },
  { format: 4, event: 'WorkerUndrained' },
  { format: 4, event: 'QueuePaused' },
  { format: 4, event: 'QueueResumed' },
  // Takes two equal outputs for different ones, and runs what was run.
  { format: 4, event: 'JobCompleted', field: 'outputV1' },
  // Does not know the stream, and has another log.
  { format: 4, event: 'ContentStored' },
  // Takes what ran elsewhere for what ran in the image.
  { format: 4, event: 'JobCompleted', field: 'ran' },
  { format: 4, event: 'JobFailed', field: 'ran' },
  // Gives the job to a worker that has not what it asks for, and its result to who asks for another place.
  { format: 4, event: 'JobRequested', field: 'runtimeConstraints.platform' },
  { format: 4, event: 'JobRequested', field: 'runtimeConstraints.sandbox' },
  // Answers with what is not there.
  { format: 4, event: 'ContentLost' },
  { format: 4, event: 'ContentFound' },
  // Takes away what is to stay.
  { format: 4, event: 'JobPinned' },
  { format: 4, event: 'JobUnpinned' },
  // Does not know the stream, and has another log.
  { format: 4, event: 'RepositoryAdded' },
  { format: 4, event: 'RepositoryRemoved' },
];

/** The format of what lets several share a run: interests, attempts after the first, workers that are drained, queues that are paused. */
export const sharedRunsFormat = 4;

/** The lowest format whose readers understand the event. */
export function formatNeeded(event: MemoirEvent, among?: readonly Need[]): number {
  let format = 1;
  const name = event.$typeName.slice(event.$typeName.lastIndexOf('.') + 1);
  for (const need of (among ? byEvent(among) : needsByEvent).get(name) ?? []) {
    if (need.format > format && concerns(need, event)) format = need.format;
  }
  return format;
}

function byEvent(among: readonly Need[]): ReadonlyMap<string, readonly Need[]> {
  const found = new Map<string, Need[]>();
  for (const need of among) found.set(need.event, [...(found.get(need.event) ?? []), need]);
  return found;
}

/** Every append asks. */
const needsByEvent = byEvent(needs);

function concerns({ field, member }: Need, event: MemoirEvent): boolean {
  if (field === undefined) return true;
  const value = field
    .split('.')
    .reduce<unknown>((of, name) => (of as Readonly<Record<string, unknown>>)?.[name], event);
  return member === undefined ? isSet(value) : (value as { readonly case?: string } | undefined)?.case === member;
}

/** Whether a field has another value than one that was never set. */
function isSet(value: unknown): boolean {
  if (value === undefined || value === null || value === '' || value === 0 || value === 0n || value === false)
    return false;
  if (Array.isArray(value) || value instanceof Uint8Array) return value.length > 0;
  // A group of which one field may be set.
  if (typeof value === 'object' && 'case' in value) return value.case !== undefined;
  return typeof value !== 'object' || Object.keys(value).length > 0;
}
