import { invalid, quote } from '../domain/errors.js';
import { repositoryGlobs } from '../domain/repositories/repository-glob.js';
import { eventTypes } from '../eventstore/codec.js';
import { checkRequired, checkUuid, textLimits } from '../jobs/limits.js';
import type { EventFacts } from './event-facts.js';

/** Most values of one kind of condition. */
const mostValues = 1_000;

/** Most globs, and the most characters of all together, so that compiling and matching them never takes long. */
const mostGlobs = 100;
const mostGlobCharacters = 1_024;

/** Repositories whose answer is kept. */
const remembered = 1_000;

/** Longest name of an owner, in bytes. */
const ownerLimit = 256;

/**
 * The types that are left out unless they are named: live output, by far the most of a log, intentions, which answers follow, that
 * workers are there, and what servers keep.
 */
const onlyByName: readonly string[] = [
  'JobLogAppended',
  'SubmissionIntended',
  'JobRetryIntended',
  'WorkerSeen',
  'ContentStored',
  'ContentLost',
  'ContentFound',
];

/** Conditions on events as a client gives them: alternatives of each kind, none for no condition. */
export type GivenFilter = {
  readonly eventTypes: readonly string[];
  readonly repositories: readonly string[];
  readonly scripts: readonly string[];
  readonly owners: readonly string[];
  readonly jobUuids: readonly string[];
};

/** Which events are wanted. */
export type EventFilter = {
  /** Whether a type is wanted; to be asked first, since it costs least. */
  takesType(type: string): boolean;
  /** Whether what an event is of is wanted. */
  takes(facts: Pick<EventFacts, 'job' | 'repository'>): boolean;
  /** True if every `takes` is. */
  readonly takesAll: boolean;
};

/** @throws MemoirError INVALID_ARGUMENT naming the field and the value that cannot be a condition */
export function eventFilter(given: GivenFilter): EventFilter {
  const types = new Set(given.eventTypes.length > 0 ? checkTypes(given.eventTypes) : []);
  const scripts = given.scripts.length > 0 && setOf('scripts', given.scripts, textLimits.script);
  const owners = given.owners.length > 0 && setOf('owners', given.owners, ownerLimit);
  const uuids = given.jobUuids.length > 0 && uuidsOf(given.jobUuids);
  const inRepository = given.repositories.length > 0 && matcherOf(given.repositories);
  return {
    takesType: (type) => (types.size > 0 ? types.has(type) : !onlyByName.includes(type)),
    takes({ job, repository }) {
      if (uuids && !(job && uuids.has(job.uuid))) return false;
      if (scripts && !(job && scripts.has(job.script))) return false;
      if (owners && !(job && owners.has(job.owner))) return false;
      return !inRepository || (repository !== undefined && inRepository(repository));
    },
    takesAll: !scripts && !owners && !uuids && !inRepository,
  };
}

function checkTypes(types: readonly string[]): readonly string[] {
  for (const type of checkCount('event_types', types)) {
    if (eventTypes.includes(type)) continue;
    const message = `event_types ${quote(type, 60)} is none of ${eventTypes.join(', ')}`;
    throw invalid('event_types', 'UNKNOWN_EVENT_TYPE', message);
  }
  return types;
}

function setOf(field: string, values: readonly string[], limit: number): ReadonlySet<string> {
  for (const value of checkCount(field, values)) checkRequired(field, value, limit);
  return new Set(values);
}

function uuidsOf(values: readonly string[]): ReadonlySet<string> {
  return new Set(checkCount('job_uuids', values).map((value) => checkUuid('job_uuids', value)));
}

function matcherOf(globs: readonly string[]): (repository: string) => boolean {
  checkCount('repositories', globs, mostGlobs);
  let characters = 0;
  for (const glob of globs) characters += glob.length;
  if (characters > mostGlobCharacters) {
    const message = `repositories: the globs have ${characters} characters, and ${mostGlobCharacters} is the limit for all together`;
    throw invalid('repositories', 'TOO_LONG', message);
  }
  const matches = repositoryGlobs(globs);
  if (!matches) {
    const wrong = globs.find((glob) => !repositoryGlobs([glob])) ?? '';
    const message = `repositories ${quote(wrong, 60)} is no glob of letters, digits, ".", "_", "-", "/", "*" and "?"`;
    throw invalid('repositories', 'BAD_GLOB', message);
  }
  const known = new Map<string, boolean>();
  return (repository) => {
    let answer = known.get(repository);
    if (answer !== undefined) return answer;
    answer = matches(repository);
    if (known.size < remembered) known.set(repository, answer);
    return answer;
  };
}

function checkCount(field: string, values: readonly string[], limit = mostValues): readonly string[] {
  if (values.length <= limit) return values;
  throw invalid(field, 'TOO_MANY', `${field} has ${values.length} values, and ${limit} is the limit`);
}
