import { existsSync, readFileSync } from 'node:fs';
import type { Logger } from 'pino';
import type { HistoryModel } from '../../projections/history/history-model.js';
import { MemoirError, quote } from '../domain/errors.js';
import { parseCheckpoint } from '../domain/log-tree/checkpoint.js';
import { rootOf } from '../domain/log-tree/proof.js';
import { parseNote } from '../domain/log-tree/signed-note.js';
import { tileWidth } from '../domain/log-tree/tiles.js';
import type { GuardedStore } from '../eventstore/format-guard.js';
import { LogRefused, type Position } from '../eventstore/port.js';
import { replacedDurably } from '../files/durable-file.js';
import type { CheckpointSigner } from '../history/checkpoint-key.js';
import { upToDate } from '../history/up-to-date.js';

/** How often the file is renewed while something is recorded, in milliseconds: as much at the end of a log may be lost unnoticed. */
const interval = 1_000;

/** How long the end of the log is waited for when the server stops, in milliseconds. */
const lastWait = 1_000;

/** The last checkpoint of a log, as a file beside it keeps it. */
export type KeptCheckpoint = {
  /** How many events the log had, and the root of the tree over them. */
  readonly size: number;
  readonly root: Uint8Array;
  /** The last of them. */
  readonly position: Position;
  readonly eventId: string;
};

/** What the line of a checkpoint begins with that tells the position and the id of its last event. */
const lastEvent = 'memoir-last-event';

/**
 * The checkpoint in a file; undefined if there is no file. Whoever can write it could remove it too: its signature is for auditors.
 * @throws Error naming the file if it holds something else, or cannot be read
 */
export function readKeptCheckpoint(path: string): KeptCheckpoint | undefined {
  if (!existsSync(path)) return undefined;
  try {
    const { text } = parseNote(readFileSync(path, 'utf8'));
    const { size, root } = parseCheckpoint(text);
    const [, position, eventId] = new RegExp(`^${lastEvent} (\\d{1,16}) (\\S+)$`, 'm').exec(text) ?? [];
    if (position === undefined || eventId === undefined) throw new Error(`it has no line ${lastEvent}`);
    return { size, root, position: Number(position), eventId };
  } catch (error) {
    throw new Error(`${quote(path)} is no checkpoint that a server kept: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

type Keeping = {
  readonly store: GuardedStore;
  readonly history: HistoryModel;
  readonly signer: CheckpointSigner;
  readonly path: string;
  /** What the file said when the server started. */
  readonly before: KeptCheckpoint | undefined;
  readonly logger: Logger;
};

/**
 * Keeps the last checkpoint of the log in a file: every second while something is recorded, and when the server stops. Before the first
 * time, the tree over the log must have the root that the file says; if it has not, the log is refused as OTHER_LOG.
 */
export function keepCheckpoint({ store, history, signer, path, before, logger }: Keeping): { stop(): Promise<void> } {
  let kept = before?.size ?? 0;
  let agreed = before === undefined;
  let failing = false;

  async function renew(): Promise<void> {
    const size = history.tree.size();
    if (size < kept || (size === kept && agreed)) return;
    const nodes = history.tree.nodes();
    if (before && !agreed) {
      if (Buffer.compare(rootOf(nodes, before.size), before.root) !== 0) return store.refuse(altered(path, before));
      agreed = true;
      if (size === kept) return;
    }
    const last = size - 1;
    const position = history.tree.positions(Math.floor(last / tileWidth))[last % tileWidth] as Position;
    const event = await store.eventAt(position);
    if (!event || store.refused()) return;
    const note = signer.sign({ size, root: rootOf(nodes, size) }, [`${lastEvent} ${position} ${event.id}`]);
    await replacedDurably(path, note);
    kept = size;
  }

  async function renewOrSay(): Promise<void> {
    if (store.refused()) return;
    try {
      await renew();
      failing = false;
    } catch (error) {
      // The history is made anew, or the store is away: another time.
      if (error instanceof MemoirError || failing) return;
      failing = true;
      logger.warn({ err: error }, 'the last checkpoint of the log cannot be kept');
    }
  }

  let running = Promise.resolve();
  let timer: NodeJS.Timeout | undefined;
  function schedule(): void {
    timer = setTimeout(() => {
      running = renewOrSay().then(() => {
        if (timer) schedule();
      });
    }, interval);
    timer.unref();
  }
  schedule();

  return {
    async stop() {
      clearTimeout(timer);
      timer = undefined;
      await running;
      try {
        await upToDate(history, await store.end(), AbortSignal.timeout(lastWait));
      } catch {
        // Then as far as it has come.
      }
      await renewOrSay();
    },
  };
}

function altered(path: string, { size, position }: KeptCheckpoint): LogRefused {
  return new LogRefused(
    'OTHER_LOG',
    `the event log is another: its first ${size} events, up to position ${position}, are not those that the checkpoint ${quote(path)} is of. ` +
      'Run memoir audit verify with that file as --checkpoint; put the log back as it was, from a copy that is not older; or, to go on ' +
      'with what there is, start once with --accept-other-log',
  );
}
