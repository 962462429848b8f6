import { realpathSync } from 'node:fs';
import { invalid, MemoirError, quote } from '../../domain/errors.js';
import { type AddedPlace, addedPlace, isWithin } from '../../domain/repositories/added-place.js';
import { longestRepositoryName, repositoryNamePattern } from '../../domain/repositories/repository-name.js';
import {
  type AddedRepository,
  decideSet,
  evolveSet,
  notAdded,
  type RepositorySet,
  type RepositorySetEvent,
  type SetCommand,
} from '../../domain/repositories/repository-set.js';
import { repositorySetStream } from '../../domain/streams.js';
import { judged } from '../../eventstore/foreign.js';
import type { Position } from '../../eventstore/port.js';
import type { Caller } from '../caller.js';
import { decidedAgain } from '../contention.js';
import type { JobsContext } from '../context.js';
import { needsSharedRuns } from '../deciding/needs-shared-runs.js';
import { eventOfCall } from '../event-of-call.js';
import { keyedLock } from '../keyed-lock.js';
import type { RepositoryPlaces } from '../ports/added-repositories.js';
import { denied } from '../reading/permit.js';

/** What is asked to be added. */
export type RepositoryToAdd = {
  readonly name: string;
  readonly path: string;
  readonly url: string;
  readonly credential: string;
  /** Whether the name may come to mean another place. */
  readonly replace: boolean;
};

/** Adds and removes repositories while servers run, and follows what other servers do. */
export type AddRepositories = {
  /**
   * Adds a repository; gives where in the log that can be seen.
   * @throws MemoirError as AddRepository of the contract has it
   */
  add(caller: Caller, asked: RepositoryToAdd): Promise<Position>;
  /** Removes one that was added. @throws MemoirError as RemoveRepository of the contract has it */
  remove(caller: Caller, name: string): Promise<Position>;
  /** The repository of a name that was added and not removed, as this server has it. */
  added(name: string): AddedRepository | undefined;
  /** Has what the log has now. */
  follow(): Promise<void>;
};

type Context = Pick<JobsContext, 'store' | 'written' | 'edge' | 'serverVersion' | 'sharesRuns'>;

/** Repositories that are added to what a server has by its configuration. */
export function addRepositories(context: Context, places: RepositoryPlaces): AddRepositories {
  const { store, written, edge, sharesRuns } = context;
  const serially = keyedLock();

  /** The set by all that is in its stream now. It is short, and read as a whole. */
  async function load(): Promise<{ readonly set: RepositorySet; readonly revision: number }> {
    let set: RepositorySet = new Map();
    let revision = -1;
    for await (const recorded of store.readStream(repositorySetStream, 0)) {
      ({ revision } = recorded);
      const { event } = judged(recorded);
      if (event) set = evolveSet(set, event as RepositorySetEvent);
    }
    return { set, revision };
  }

  async function attempt(caller: Caller, command: SetCommand): Promise<Position> {
    const { set, revision } = await load();
    if (command.kind === 'remove') {
      const before = set.get(command.name);
      if (before) checkMay(caller, before.name, before.place);
    }
    const event = decideSet(set, command);
    const position = event ? await append(caller, event, revision < 0 ? 'no_stream' : revision) : await store.end();
    await places.have(event ? evolveSet(set, event) : set);
    return position;
  }

  async function append(caller: Caller, event: RepositorySetEvent, expected: number | 'no_stream'): Promise<Position> {
    const { position } = await store.append(repositorySetStream, expected, [eventOfCall(context, caller, event)]);
    await written.catchUp(position);
    return position;
  }

  function execute(caller: Caller, command: SetCommand): Promise<Position> {
    return serially(repositorySetStream, () =>
      decidedAgain('others add and remove repositories', () => attempt(caller, command)),
    );
  }

  function checkCredential(place: AddedPlace): void {
    if (!('url' in place) || place.credential === '') return;
    const below = places.credentialUrl(place.credential);
    if (below !== undefined && isWithin(place.url, [below])) return;
    const message = `the configuration has no credential ${quote(place.credential)} that may be sent to ${quote(place.url)}`;
    throw invalid('credential', 'UNKNOWN_CREDENTIAL', message);
  }

  return {
    async add(caller, { name, replace, ...asked }) {
      if (!repositoryNamePattern.test(name) || name.length > longestRepositoryName) {
        throw invalid('name', 'BAD_NAME', `name ${quote(name)} is no name of a repository`);
      }
      const place = addedPlace(asked);
      checkMay(caller, name, place);
      if (!sharesRuns) throw needsSharedRuns('adding a repository');
      if (places.isConfigured(name)) {
        const message = `the repository ${quote(name)} is in the configuration of the server, which is changed there`;
        throw new MemoirError('ALREADY_EXISTS', 'REPOSITORY_CONFIGURED', message, { field: 'name' });
      }
      checkCredential(place);
      const directories = await places.check(name, place);
      checkDirectories(caller, name, directories);
      return execute(caller, { kind: 'add', name, place, replace, by: caller.principal, now: edge.now() });
    },
    async remove(caller, name) {
      if (!caller.access.administers(name)) throw denied(caller, `remove the repository ${quote(name)}`);
      if (places.isConfigured(name)) {
        const message = `the repository ${quote(name)} is in the configuration of the server, and removed there`;
        throw new MemoirError('FAILED_PRECONDITION', 'REPOSITORY_CONFIGURED', message, { field: 'name' });
      }
      if (!sharesRuns) throw notAdded(name);
      return execute(caller, { kind: 'remove', name, by: caller.principal, now: edge.now() });
    },
    added(name) {
      const found = places.set().get(name);
      return found && !found.removed && !places.isConfigured(name) ? found : undefined;
    },
    follow: () => serially(repositorySetStream, async () => places.have((await load()).set)),
  };
}

/** @throws MemoirError PERMISSION_DENIED unless the caller may add a repository of the name at the place */
function checkMay(caller: Caller, name: string, place: AddedPlace): void {
  const { access } = caller;
  if (access.administersAll) return;
  const at = 'path' in place ? place.path : place.url;
  if (access.administers(name) && isWithin(at, access.places(name))) return;
  throw denied(
    caller,
    `add or remove the repository ${quote(name)} at ${quote(at)}: that is for admins of all repositories, and for its own admins within the places that the policy names`,
  );
}

/** Links, files that point elsewhere and alternates must not lead out of what the caller may have read. */
function checkDirectories(caller: Caller, name: string, directories: readonly string[]): void {
  const { access } = caller;
  if (access.administersAll) return;
  const allowed = access.places(name).flatMap((place) => (place.startsWith('/') ? [place, real(place)] : []));
  const outside = directories.find((directory) => !isWithin(directory, allowed));
  if (outside === undefined) return;
  throw denied(caller, `add the repository ${quote(name)}, since it leads out of the places that the policy names`);
}

function real(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}
