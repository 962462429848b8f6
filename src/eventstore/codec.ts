import { type DescMessage, type JsonValue, mergeFromJson, toJson } from '@bufbuild/protobuf';
import {
  CheckpointSignedSchema,
  ContentFoundSchema,
  ContentLostSchema,
  ContentStoredSchema,
  ExcludedFromReuseSchema,
  GenerationStartedSchema,
  ImageForgottenSchema,
  ImageRegisteredSchema,
  JobAttemptEndedSchema,
  JobCancelledSchema,
  JobCompletedSchema,
  JobDeletedSchema,
  JobFailedSchema,
  JobJoinedSchema,
  JobLeftSchema,
  JobLogAppendedSchema,
  JobPinnedSchema,
  JobProgressedSchema,
  JobRequestedSchema,
  JobResumedSchema,
  JobRetryIntendedSchema,
  JobReusedSchema,
  JobStartedSchema,
  JobUnpinnedSchema,
  JobUpdatedSchema,
  QueuePausedSchema,
  QueueResumedSchema,
  ReinstatedForReuseSchema,
  RepositoryAddedSchema,
  RepositoryRemovedSchema,
  RunNumbersTakenSchema,
  SigningKeysChangedSchema,
  SubmissionIntendedSchema,
  WorkerDrainedSchema,
  WorkerSeenSchema,
  WorkerUndrainedSchema,
} from '../../gen/memoir/events/v1/events_pb.js';
import { quote } from '../domain/errors.js';
import type { MemoirEvent } from '../domain/events.js';
import { recursionLimit } from '../domain/json.js';
import { emptyMessage } from '../domain/messages/empty-messages.js';
import { type NewEvent, type RecordedEvent, StoreUnreadable } from './port.js';

const schemas: ReadonlyMap<string, DescMessage> = new Map(
  [
    JobRequestedSchema,
    JobStartedSchema,
    JobProgressedSchema,
    JobCompletedSchema,
    JobFailedSchema,
    JobCancelledSchema,
    JobUpdatedSchema,
    JobDeletedSchema,
    JobReusedSchema,
    JobLogAppendedSchema,
    SubmissionIntendedSchema,
    JobRetryIntendedSchema,
    ExcludedFromReuseSchema,
    ReinstatedForReuseSchema,
    ImageRegisteredSchema,
    ImageForgottenSchema,
    CheckpointSignedSchema,
    GenerationStartedSchema,
    RunNumbersTakenSchema,
    SigningKeysChangedSchema,
    JobAttemptEndedSchema,
    JobResumedSchema,
    JobJoinedSchema,
    JobLeftSchema,
    WorkerSeenSchema,
    WorkerDrainedSchema,
    WorkerUndrainedSchema,
    QueuePausedSchema,
    QueueResumedSchema,
    ContentStoredSchema,
    ContentLostSchema,
    ContentFoundSchema,
    JobPinnedSchema,
    JobUnpinnedSchema,
    RepositoryAddedSchema,
    RepositoryRemovedSchema,
  ].map((schema) => [schema.name, schema]),
);

const readAs = { ignoreUnknownFields: true, recursionLimit };

/** Bare names of all events that this version knows. */
export const eventTypes: readonly string[] = [...schemas.keys()];

/** The event as it is stored: ProtoJSON under its bare message name. `metadata` is text that `metadataJson` gave. */
export function encodeEvent(id: string, event: MemoirEvent, metadata: string): NewEvent {
  const type = event.$typeName.slice(event.$typeName.lastIndexOf('.') + 1);
  const schema = schemas.get(type) as DescMessage;
  return { id, type, data: JSON.stringify(toJson(schema, event)), metadata };
}

/**
 * The event that was stored. Fields that this version does not know are left out, and so are the top-level fields in `omit`.
 * @throws StoreUnreadable naming the event if its type is unknown, as one of a newer version is, or if it is malformed
 */
export function decodeEvent(
  recorded: Pick<RecordedEvent, 'type' | 'data' | 'stream' | 'revision'>,
  omit: readonly string[] = [],
): MemoirEvent {
  const schema = schemas.get(recorded.type);
  if (!schema)
    throw new StoreUnreadable(
      `${place(recorded)} is of type ${quote(recorded.type)}, which this version does not know`,
    );
  try {
    const json = JSON.parse(recorded.data) as Record<string, JsonValue>;
    for (const field of omit) if (json[field] !== undefined) delete json[field];
    return mergeFromJson(schema, emptyMessage(schema), json, readAs) as MemoirEvent;
  } catch (error) {
    throw new StoreUnreadable(`${place(recorded)} is no ${recorded.type}: ${(error as Error).message}`, error);
  }
}

function place({ stream, revision }: Pick<RecordedEvent, 'stream' | 'revision'>): string {
  return `event ${revision} of stream ${quote(stream)}`;
}
