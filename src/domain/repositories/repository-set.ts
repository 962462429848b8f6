import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  type RepositoryAdded,
  RepositoryAddedSchema,
  type RepositoryRemoved,
  RepositoryRemovedSchema,
} from '../../../gen/memoir/events/v1/events_pb.js';
import { MemoirError, quote } from '../errors.js';
import { type AddedPlace, samePlace } from './added-place.js';

/** An event of the stream of repositories that were added. */
export type RepositorySetEvent = RepositoryAdded | RepositoryRemoved;

/** A repository that was added, and maybe removed since. */
export type AddedRepository = {
  readonly name: string;
  readonly place: AddedPlace;
  /** How many places the name has meant. */
  readonly epoch: number;
  readonly addedBy: string;
  readonly removed: boolean;
};

/** Repositories that were added, by name. */
export type RepositorySet = ReadonlyMap<string, AddedRepository>;

/** The set after an event. */
export function evolveSet(set: RepositorySet, event: RepositorySetEvent): RepositorySet {
  const next = new Map(set);
  if (event.$typeName === 'memoir.events.v1.RepositoryAdded') {
    const { name, path, url, credential, epoch, addedBy } = event;
    const place = url === '' ? { path } : { url, credential };
    return next.set(name, { name, place, epoch, addedBy, removed: false });
  }
  const before = set.get(event.name);
  return before ? next.set(event.name, { ...before, removed: true }) : set;
}

/** What is to be done with the set, by whom and when, in milliseconds since 1970. */
export type SetCommand = { readonly name: string; readonly by: string; readonly now: number } & (
  | { readonly kind: 'add'; readonly place: AddedPlace; readonly replace: boolean }
  | { readonly kind: 'remove' }
);

/** The event that a command makes; undefined if all is as it wants it. @throws MemoirError ALREADY_EXISTS, or NOT_FOUND UNKNOWN_REPOSITORY */
export function decideSet(set: RepositorySet, command: SetCommand): RepositorySetEvent | undefined {
  const { name, by, now } = command;
  const before = set.get(name);
  if (command.kind === 'remove') {
    if (!before) throw notAdded(name);
    if (before.removed) return undefined;
    return create(RepositoryRemovedSchema, { name, removedBy: by, removedAt: timestampFromMs(now) });
  }
  const { place, replace } = command;
  const same = before !== undefined && samePlace(before.place, place);
  if (before && !before.removed) {
    if (same && credentialOf(before.place) === credentialOf(place)) return undefined;
    if (!replace) {
      const message = `the repository ${quote(name)} was added with another place or credential; it is given another one by replace`;
      throw new MemoirError('ALREADY_EXISTS', 'REPOSITORY_EXISTS', message, { field: 'name' });
    }
  }
  const epoch = (before?.epoch ?? 0) + (same ? 0 : 1);
  const given = { name, ...place, epoch, addedBy: by, addedAt: timestampFromMs(now) };
  return create(RepositoryAddedSchema, given);
}

const credentialOf = (place: AddedPlace): string => ('url' in place ? place.credential : '');

/** The error for a repository that nobody added. */
export function notAdded(name: string): MemoirError {
  const message = `no repository ${quote(name)} was added`;
  return new MemoirError('NOT_FOUND', 'UNKNOWN_REPOSITORY', message, { field: 'name' });
}
