import { existsSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import type { Logger } from 'pino';
import type { HistoryModel } from '../../projections/history/history-model.js';
import { MemoirError, quote } from '../domain/errors.js';
import type { TreeHead } from '../domain/log-tree/check-proof.js';
import { parseCheckpoint } from '../domain/log-tree/checkpoint.js';
import { emptyRoot } from '../domain/log-tree/growing-tree.js';
import { type Nodes, rootOf } from '../domain/log-tree/proof.js';
import { parseNote } from '../domain/log-tree/signed-note.js';
import { tileWidth } from '../domain/log-tree/tiles.js';
import type { Edge } from '../edge.js';
import type { GuardedStore } from '../eventstore/format-guard.js';
import { LogRefused, type Position, start } from '../eventstore/port.js';
import { writtenAside } from '../files/durable-file.js';
import type { CheckpointSigner } from '../history/checkpoint-key.js';
import { upToDate } from '../history/up-to-date.js';

/** How often the file is renewed while something is recorded, in milliseconds: as much at the end of a log may be lost unnoticed. */
const interval = 1_000;

/** How long the end of the log, and the disk, are waited for when the server stops, in milliseconds. */
const lastWait = 1_000;

/**
 * How long a root stands until it is computed again and kept, if it is the same, in milliseconds: by then the files that it is from were checked,
 * and made anew if they were damaged.
 */
const settled = 10 * 60_000;

/** The last checkpoint of a log, as a file beside it keeps it: how many events there were, some time ago, and the root of the tree over them. */
export type KeptCheckpoint = TreeHead & {
  /** The last event that was there. */
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
  readonly edge: Pick<Edge, 'monotonic'>;
  readonly logger: Logger;
};

/**
 * Keeps the last checkpoint of the log in a file: every second while something is recorded, and when the server stops. Before the first
 * time, the tree over the log must have the root that the file says. If it has not, the history is made anew from the log, and if that
 * has not either, the log is refused as OTHER_LOG.
 */
export function keepCheckpoint({ store, history, signer, path, before, edge, logger }: Keeping): {
  stop(): Promise<void>;
} {
  let confirmed: TreeHead = before ?? { size: 0, root: emptyRoot };
  let candidate: { readonly head: TreeHead; readonly since: number } | undefined;
  let kept = { position: before?.position ?? start, size: confirmed.size };
  let agreed = before === undefined;
  let remade: 'no' | 'asked for' | 'yes' = 'no';
  let failing = false;
  history.onRemade(() => {
    candidate = undefined;
    if (remade === 'asked for') remade = 'yes';
  });

  /** Whether the log is the one that the file was of; undefined as long as the history may be to blame. */
  function agrees(nodes: Nodes, size: number): boolean | undefined {
    if (size < confirmed.size) return undefined;
    if (isRoot(nodes, confirmed)) return true;
    if (remade === 'yes') return false;
    if (remade === 'no') history.damaged(`its tree is not the one that ${quote(path)} is of`);
    remade = 'asked for';
    return undefined;
  }

  function settle(nodes: Nodes, size: number): void {
    if (candidate && edge.monotonic() - candidate.since >= settled) {
      if (isRoot(nodes, candidate.head)) confirmed = candidate.head;
      candidate = undefined;
    }
    if (size > confirmed.size) candidate ??= { head: { size, root: rootOf(nodes, size) }, since: edge.monotonic() };
  }

  async function renew(): Promise<void> {
    const size = history.tree.size();
    if (size === 0) return;
    const nodes = history.tree.nodes();
    if (!agreed) {
      const found = agrees(nodes, size);
      if (found === false) return store.refuse(altered(path, confirmed));
      if (found === undefined) return;
      agreed = true;
    }
    settle(nodes, size);
    const last = size - 1;
    const position = history.tree.positions(Math.floor(last / tileWidth))[last % tileWidth];
    if (position === undefined || position < kept.position) return;
    if (position === kept.position && confirmed.size === kept.size) return;
    const event = await store.eventAt(position);
    if (!event || store.refused()) return;
    await put(signer.sign(confirmed, [`${lastEvent} ${position} ${event.id}`]));
    kept = { position, size: confirmed.size };
  }

  async function put(note: string): Promise<void> {
    const aside = `${path}.lock`;
    // A server that died may have left one.
    await rm(aside, { force: true });
    await writtenAside({ aside, mode: 0o644 }, async ({ file, replace }) => {
      await file.writeFile(note);
      await replace(path);
    });
  }

  async function renewOrSay(): Promise<void> {
    // A history that is damaged, or being made anew, tells nothing.
    if (store.refused() || !history.progress().live) return;
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
      const late = AbortSignal.timeout(lastWait);
      const last = async () => {
        await running;
        await upToDate(history, await store.end(), late).catch(() => undefined);
        await renewOrSay();
      };
      // What takes longer is no reason to keep the log from being closed in good order.
      const given = new Promise<void>((resolve) => late.addEventListener('abort', () => resolve(), { once: true }));
      await Promise.race([last(), given]);
    },
  };
}

const isRoot = (nodes: Nodes, { size, root }: TreeHead) => Buffer.compare(rootOf(nodes, size), root) === 0;

function altered(path: string, { size }: TreeHead): LogRefused {
  return new LogRefused(
    'OTHER_LOG',
    `the event log is another: its first ${size} events are not those that the checkpoint ${quote(path)} is of. Run memoir audit verify ` +
      'with that file as --checkpoint; put the log back as it was, from a copy that is not older; or, to go on with what there is, ' +
      'start once with --accept-other-log',
  );
}
