import { LRUCache } from 'lru-cache';
import { MemoirError, quote } from '../domain/errors.js';
import {
  decideImage,
  evolveImages,
  type ImageCommand,
  type ImageEvent,
  type ImageRepository,
  noImagesYet,
} from '../domain/image.js';
import { imageStream } from '../domain/streams.js';
import { judged } from '../eventstore/foreign.js';
import type { Position } from '../eventstore/port.js';
import type { Caller } from '../jobs/caller.js';
import { decidedAgain } from '../jobs/contention.js';
import { eventOfCall } from '../jobs/event-of-call.js';
import { keyedLock } from '../jobs/keyed-lock.js';
import { type ImagesContext, imagesKey } from './context.js';

/** How many images are remembered. */
const remembered = 100_000;

/** What a command did. */
export type Executed = {
  /** The repository after it. */
  readonly repository: ImageRepository;
  /** Whoever has read up to here sees it. */
  readonly position: Position;
  /** False if the repository was already as the command wanted it. */
  readonly changed: boolean;
};

/**
 * Carries a command out on the images of a repository as they are now.
 * @throws MemoirError what `decideImage` refuses it with, or ABORTED CONTENTION
 */
export type ExecuteImageCommand = (caller: Caller, repository: string, command: ImageCommand) => Promise<Executed>;

/** Reads and writes the streams of images: one appends only where nobody else appended since the command was decided. */
export function imageStreams({ store, written, edge, serverVersion }: ImagesContext): ExecuteImageCommand {
  // Everything that is remembered is only where reading goes on: what others appended is read before every decision.
  const known = new LRUCache<string, ImageRepository>({
    maxSize: remembered,
    sizeCalculation: ({ images }) => images.size + 1,
  });
  const serially = keyedLock();

  async function load(name: string): Promise<ImageRepository> {
    const before = known.get(name) ?? noImagesYet;
    const events: (ImageEvent | undefined)[] = [];
    for await (const recorded of store.readStream(imageStream(name), before.revision + 1)) {
      const gone = recorded.revision - before.revision - 1 - events.length;
      for (let i = 0; i < gone; i++) events.push(undefined);
      events.push(judged(recorded).event as ImageEvent | undefined);
    }
    const repository = events.length === 0 ? before : evolveImages(before, events);
    known.set(name, repository);
    return repository;
  }

  async function attempt(caller: Caller, name: string, command: ImageCommand): Promise<Executed> {
    const repository = await load(name);
    const events = decideImage(repository, command);
    if (events instanceof MemoirError) throw events;
    if (events.length === 0) return { repository, position: await store.end(), changed: false };
    const encoded = events.map((event) => eventOfCall({ edge, serverVersion }, caller, event));
    const expected = repository.revision < 0 ? 'no_stream' : repository.revision;
    const { position } = await store.append(imageStream(name), expected, encoded);
    written.note(imagesKey, position);
    const after = evolveImages(repository, events);
    known.set(name, after);
    return { repository: after, position, changed: true };
  }

  function attempts(caller: Caller, name: string, command: ImageCommand): Promise<Executed> {
    const what = `the images of ${quote(name)} are being changed by others`;
    return decidedAgain(what, () => attempt(caller, name, command));
  }

  return (caller, name, command) => serially(name, () => attempts(caller, name, command));
}
