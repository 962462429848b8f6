import { isForAll } from '../../projections/history/log-subjects.js';
import type { ReadModel } from '../../projections/read-model/read-model.js';
import { type Access, permission } from '../domain/access.js';
import {
  exclusionStream,
  exclusionStreamsOfNone,
  repositoryOfExclusionStream,
  repositorySetStream,
  uuidOfAnyJobStream,
} from '../domain/streams.js';
import { whyForeign } from '../eventstore/foreign.js';
import type { RecordedEvent } from '../eventstore/port.js';
import { knowsExclusion } from '../exclusions/permit.js';

/** What an event is about, beside what it says itself. */
export type EventFacts = {
  /** The job that it is of. */
  readonly job?: {
    readonly uuid: string;
    readonly owner: string;
    readonly script: string;
    /** Principal of the worker that claimed it; empty if none did. */
    readonly claimedBy: string;
  };
  /** The repository of the job or exclusion, or that was added or removed; undefined for what belongs to none: docker images, exclusions of images, outputs and workers. */
  readonly repository?: string;
  /** Whether a principal may read the event: by the rules for the job or exclusion that it is of. */
  readonly readableBy: (access: Access) => boolean;
};

const everybody = () => true;
const whoReadsAll = (access: Access) => access.readsAll;
const nobody = () => false;

type Recorded = Pick<RecordedEvent, 'stream' | 'type' | 'data' | 'metadata' | 'revision'>;

/** What an event is about, whoever wrote it. The read model must have come to the event. */
export function eventFacts(readModel: Pick<ReadModel, 'jobs' | 'exclusions'>, recorded: Recorded): EventFacts {
  // What no Memoir wrote, or is malformed, is given to nobody; `memoir audit foreign` names it.
  return whyForeign(recorded) === undefined ? factsOf(readModel, recorded) : { readableBy: nobody };
}

/** As `eventFacts`, of an event that is given to nobody in any case if it is foreign: whoever asks looks at that before or after. */
export function factsOf(readModel: Pick<ReadModel, 'jobs' | 'exclusions'>, recorded: Recorded): EventFacts {
  const { stream, type, data } = recorded;
  const uuid = uuidOfAnyJobStream(stream);
  if (uuid !== undefined) return factsOfJob(readModel, uuid);
  if (stream.startsWith(exclusionStream(''))) return factsOfExclusion(readModel, stream, exclusionId(type, data));
  if (stream === repositorySetStream) {
    const repository = member(data, 'name');
    return repository === undefined
      ? { readableBy: whoReadsAll }
      : { repository, readableBy: (access) => access.knows(repository) };
  }
  return { readableBy: isForAll({ stream, type }) ? everybody : whoReadsAll };
}

function factsOfJob({ jobs }: Pick<ReadModel, 'jobs'>, uuid: string): EventFacts {
  const facts = jobs.facts(uuid);
  if (!facts) return { readableBy: whoReadsAll };
  const { repository, owner, script, claimedBy } = facts;
  return {
    job: { uuid, owner, script, claimedBy },
    repository,
    readableBy: (access) => permission(access, facts, 'read') === 'granted',
  };
}

function factsOfExclusion(
  readModel: Pick<ReadModel, 'jobs' | 'exclusions'>,
  stream: string,
  id: string | undefined,
): EventFacts {
  const ofNone = exclusionStreamsOfNone.includes(stream);
  const row = id === undefined ? undefined : readModel.exclusions.get(id);
  return {
    ...(!ofNone && { repository: repositoryOfExclusionStream(stream) }),
    readableBy: row ? (access) => knowsExclusion(access, readModel, row) : whoReadsAll,
  };
}

/** The id of the exclusion that an event is of, read from its ProtoJSON without the rest of it; undefined if that cannot be. */
function exclusionId(type: string, data: string): string | undefined {
  return type === 'ReinstatedForReuse' ? member(data, 'exclusionId') : member(data, 'exclusion', 'id');
}

/** A text in ProtoJSON, by the names on the way to it; undefined if there is none. */
function member(data: string, ...names: readonly string[]): string | undefined {
  let at: unknown;
  try {
    at = JSON.parse(data);
  } catch {
    return undefined;
  }
  for (const name of names) at = (at as Readonly<Record<string, unknown>> | null | undefined)?.[name];
  return typeof at === 'string' ? at : undefined;
}
