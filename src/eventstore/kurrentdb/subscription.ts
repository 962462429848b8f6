import type { KurrentDBClient } from '@kurrent/kurrentdb-client';
import { contradicted } from '../kept-places.js';
import { type Batch, type Position, type RecordedEvent, type SubscribeOptions, start } from '../port.js';
import { type Connection, connect } from './connection.js';
import { breaksClient, isFinal, NoAnswer } from './failure.js';
import { type OwnPlace, ownPlace } from './own-place.js';
import type { Patience } from './patience.js';
import { asCommandError, openRead, type ReadCall, subscriptionRequest } from './read-call.js';
import { firstPageSize, nextPageSize, type Page, type Reader } from './reader.js';
import { checkpointFrom, recordedFrom } from './recorded.js';
import type { KurrentUrl } from './url.js';
import type { ReadAnswer } from './wire/read-answer.js';

/** Events in one batch unless the subscriber wants another number. */
const usualBatch = 1_000;

/** Events that wait in this process before the server is asked to stop sending. */
const buffered = 512;

/** The subscription stays behind the end of the log and hears nothing. */
class Stalled extends Error {
  constructor(position: Position, end: Position) {
    super(`the subscription stays at position ${position} although the log goes on to ${end}; it is begun again`);
  }
}

/** The log seems to be another than the one that was followed. */
class Doubted extends Error {}

/** How far a subscriber is. */
type Progress = {
  /** Position of the last event that was given. */
  position: Position;
  /** No event of Memoir is between `position` and here. */
  checkpoint: Position;
  /** Whether the subscriber knows that there was nothing more. */
  told: boolean;
};

/**
 * Makes subscriptions. Each reads the log up to its end and then follows it by a subscription of the server from there. Whenever
 * that breaks, or stays silent behind the end of the log, it reads on from where it was: reading passes what a subscription of
 * the server can hang at (kurrent-io/KurrentDB-Client-NodeJS issue 418).
 */
export function subscriberOf(url: KurrentUrl, patience: Patience, reader: Reader, closed: AbortSignal) {
  const { timings } = patience;

  async function* subscribeAll(after: Position = start, options: SubscribeOptions = {}): AsyncGenerator<Batch> {
    const size = options.batchSize ?? usualBatch;
    if (!Number.isSafeInteger(size) || size < 1) throw new RangeError(`a batchSize of ${size}; it must be 1 or more`);
    const stop = options.signal ? AbortSignal.any([options.signal, closed]) : closed;
    const progress: Progress = { position: after, checkpoint: after, told: false };
    const connection = connect(url);
    const place = ownPlace({ ...reader.once, readStream: reader.readStream }, 'this server');
    let begun = after === start;
    let failed = 0;
    let broken = false;
    let doubtedAt: number | undefined;

    /** Whether it is the same log that answers. @throws Doubted, or LogRefused once that has lasted */
    async function check(): Promise<void> {
      const found = await place.contradiction();
      if (!found) {
        doubtedAt = undefined;
        return;
      }
      const refusal = contradicted(url.address, found);
      doubtedAt ??= performance.now();
      if (performance.now() - doubtedAt >= timings.doubtFor) throw refusal;
      options.onDoubt?.(refusal.message);
      throw new Doubted(refusal.message);
    }

    try {
      while (!stop.aborted) {
        try {
          if (!begun) {
            const first = await beforeStop(reader.once.eventAt(after), stop);
            if (first) place.note(first);
            begun = true;
          }
          if (broken) await beforeStop(check(), stop);
          broken = true;
          yield* noting(place, catchUp(progress, size, stop));
          patience.well('follow the log');
          yield* noting(
            place,
            follow(connection, progress, size, stop, () => {
              failed = 0;
              patience.well('follow the log');
            }),
          );
        } catch (error) {
          if (stop.aborted) return;
          options.onBroken?.();
          if (isFinal(error) && !(error instanceof Error && error.name === 'StoreUnavailable')) throw error;
          patience.trouble('follow the log', error);
          progress.told = false;
          await patience.pause(failed++, stop);
        }
      }
    } finally {
      await connection.close();
    }
  }

  /** Everything up to the end of the log. */
  async function* catchUp(progress: Progress, size: number, stop: AbortSignal): AsyncGenerator<Batch> {
    let next = reader.pageAfter(Math.max(progress.position, progress.checkpoint), firstPageSize);
    for (let end = false; !end; ) {
      const page: Page | undefined = await beforeStop(next, stop);
      if (!page) return;
      end = page.end;
      const last = page.events.at(-1);
      if (!end && last) {
        // On its way while the subscriber works on this one.
        next = reader.pageAfter(last.position, nextPageSize(page));
        next.catch(() => undefined);
      }
      for (let i = 0; i < page.events.length; i += size) {
        const events = page.events.slice(i, i + size);
        yield advance(progress, events, end && i + size >= page.events.length);
        if (stop.aborted) return;
      }
      if (end && !progress.told) yield advance(progress, [], true);
    }
  }

  /** What comes then, until the server's subscription ends or fails. */
  async function* follow(
    connection: Connection,
    progress: Progress,
    size: number,
    stop: AbortSignal,
    onConfirmed: () => void,
  ): AsyncGenerator<Batch> {
    if (stop.aborted) return;
    const client = connection.client();
    const live = openLive(client, progress, stop, onConfirmed);
    try {
      while (!stop.aborted) {
        const { events, drained } = live.take(size);
        if (events.length > 0) {
          yield advance(progress, events, drained);
          continue;
        }
        const heard = await live.wait();
        if (heard || stop.aborted) continue;
        const end = await beforeStop(reader.end(), stop);
        if (end === undefined) continue;
        if (end > progress.position && live.silent()) throw new Stalled(progress.position, end);
        if (end < progress.position) throw new Doubted(`the log ends at position ${end}, before ${progress.position}`);
      }
    } catch (error) {
      if (breaksClient(error)) connection.renew(client);
      throw error;
    } finally {
      live.close();
    }
  }

  /** The server's subscription, and what it has sent. */
  function openLive(client: KurrentDBClient, progress: Progress, stop: AbortSignal, onConfirmed: () => void) {
    const from = Math.max(progress.position, progress.checkpoint);
    let confirmed = false;
    let failure: unknown;
    let checkpoint: Position = from;
    let news = 0;
    let wake: () => void = () => undefined;
    let call: ReadCall | undefined;
    let closed = false;
    const waiting: RecordedEvent[] = [];

    function fail(error: unknown): void {
      failure ??= error;
      wake();
    }

    function hear(answer: ReadAnswer): void {
      news++;
      if (answer.confirmed) {
        confirmed = true;
        onConfirmed();
      }
      if (answer.checkpoint !== undefined) {
        checkpoint = Math.max(checkpoint, checkpointFrom(answer.checkpoint) ?? from);
      }
      if (answer.event) {
        const event = recordedFrom(url.address, answer.event);
        if (event.position > progress.position) waiting.push(event);
        if (waiting.length >= buffered) call?.pause();
      }
      wake();
    }

    openRead(client, subscriptionRequest(from), {}).then((opened) => {
      call = opened;
      opened.on('error', (error) => fail(asCommandError(error)));
      if (closed) {
        opened.cancel();
        return;
      }
      opened.on('end', () => fail(new Error('the server ended the subscription')));
      opened.on('data', (answer: ReadAnswer) => {
        try {
          hear(answer);
        } catch (error) {
          fail(error);
        }
      });
    }, fail);
    const stopped = () => wake();
    stop.addEventListener('abort', stopped);
    let seen = 0;

    return {
      take(size: number): { events: RecordedEvent[]; drained: boolean } {
        seen = news;
        const events = waiting.splice(0, size);
        // Every event before the checkpoint has been taken, so that a new start may begin there.
        if (events.length === 0) progress.checkpoint = Math.max(progress.checkpoint, checkpoint);
        if (waiting.length < buffered && call?.isPaused()) call.resume();
        return { events, drained: waiting.length === 0 };
      },
      /** Resolves to false if nothing was heard for so long that something may be wrong. */
      async wait(): Promise<boolean> {
        if (failure) throw failure;
        if (news !== seen || stop.aborted) return true;
        const longest = confirmed ? timings.stallAfter : timings.answerTimeout;
        const woken = await new Promise<boolean>((resolve) => {
          const timer = setTimeout(() => resolve(false), longest);
          wake = () => {
            clearTimeout(timer);
            resolve(true);
          };
        });
        wake = () => undefined;
        if (failure) throw failure;
        if (!woken && !confirmed) throw new NoAnswer(longest);
        return woken;
      },
      silent: () => news === seen,
      close() {
        stop.removeEventListener('abort', stopped);
        closed = true;
        call?.cancel();
      },
    };
  }

  return subscribeAll;
}

/** The batches, each noted when it was taken. */
async function* noting(place: OwnPlace, batches: AsyncIterable<Batch>): AsyncGenerator<Batch> {
  for await (const batch of batches) {
    yield batch;
    for (const event of batch.events) place.note(event);
  }
}

function advance(progress: Progress, events: readonly RecordedEvent[], live: boolean): Batch {
  progress.position = events.at(-1)?.position ?? progress.position;
  progress.told = live;
  return { events, position: progress.position, live };
}

/** The outcome of `work`; undefined as soon as the signal aborts. */
async function beforeStop<T>(work: Promise<T>, stop: AbortSignal): Promise<T | undefined> {
  if (stop.aborted) {
    work.catch(() => undefined);
    return undefined;
  }
  let abort: () => void = () => undefined;
  const stopped = new Promise<undefined>((resolve) => {
    abort = () => resolve(undefined);
    stop.addEventListener('abort', abort);
  });
  try {
    return await Promise.race([work, stopped]);
  } finally {
    stop.removeEventListener('abort', abort);
  }
}
