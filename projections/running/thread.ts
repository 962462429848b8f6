import { existsSync } from 'node:fs';
import { constants, platform, setPriority } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { systemEdge } from '../../src/edge.js';
import { openLog } from '../../src/eventstore/open-store.js';
import { LogRefused } from '../../src/eventstore/port.js';
import { projectionSets } from '../all.js';
import { isDamage } from './database.js';
import { type KeptFile, openKeptFile, setAside } from './kept-file.js';
import { DamagedFile } from './page-sums.js';
import { type Applied, runProjections } from './runner.js';
import type { ThreadData, ThreadMessage, ThreadOrder } from './thread-protocol.js';

// The thread that keeps one set of projections, so that a rebuild or a burst never holds up the thread that answers calls.

/** Events in one transaction while the log's past is applied: the more, the less often a page of an index is written again. */
const batchSize = 1_000;

/** How long to wait after a failure, such as a full disk, before the batch is tried again, in milliseconds. */
const retryAfter = 1_000;

/** How often a part of the file is checked, in milliseconds. */
const checkInterval = 1_000;

const { storeUrl, path, keeps } = workerData as ThreadData;
const projections = projectionSets[keeps];
const stop = new AbortController();

/** No decision waits for the history, so that it may take its time. */
const patient = keeps === 'history';

/** How long a patient thread lets events gather, in milliseconds. */
const pause = patient ? 20 : 0;

// Linux knows a priority of one thread; elsewhere it would be that of the process.
if (patient && platform() === 'linux') setPriority(constants.priority.PRIORITY_BELOW_NORMAL);

function say(message: ThreadMessage): void {
  parentPort?.postMessage(message);
}

let caughtUp = false;

function report({ events, position, live }: Applied): void {
  const streams = new Set<string>();
  let queued = false;
  let excluded = false;
  if (caughtUp) {
    for (const { stream, type } of events) {
      if (type !== 'JobReused') streams.add(stream);
      if (type === 'JobRequested') queued = true;
      if (type === 'ExcludedFromReuse' || type === 'ReinstatedForReuse') excluded = true;
    }
  }
  caughtUp ||= live;
  say({ kind: 'applied', position, live: caughtUp, streams: [...streams], queued, excluded });
}

/** Ends the run over the file that is open: it is damaged, or the thread ends. */
let ended = new AbortController();

const stopped = new Promise<void>((resolve) => stop.signal.addEventListener('abort', () => resolve(), { once: true }));
parentPort?.on('message', (order: ThreadOrder) => {
  if (order.kind === 'damaged') damaged(order.why);
  else {
    stop.abort();
    ended.abort();
  }
});

/** Why the file must be made anew; undefined while it is sound. */
let damage: string | undefined;
function damaged(why: string): void {
  if (damage === undefined) say({ kind: 'unsound' });
  damage ??= why;
  ended.abort();
}

/** Does what may find damage. */
function watchfully(work: () => void): void {
  try {
    work();
  } catch (error) {
    if (error instanceof DamagedFile || isDamage(error)) damaged((error as Error).message);
    else say({ kind: 'failed', message: (error as Error).message });
  }
}

const log = await openLog(storeUrl, systemEdge, (message) => say({ kind: 'failed', message }));
const remade = (why: string) => say({ kind: 'remade', why });
let file: KeptFile | undefined = openKeptFile(path, projections, remade);
say({ kind: 'opened', end: await log.end() });

const checks = setInterval(() => {
  if (damage === undefined && file) watchfully(file.check);
}, checkInterval);

/** Opens a file that is sound: a new one in the place of one that is damaged. */
function soundFile(): KeptFile {
  if (file && damage === undefined) return file;
  file?.abandon();
  file = undefined;
  const aside = damage !== undefined && existsSync(path) ? `; it is kept as ${setAside(path)}` : '';
  const why = `${damage}${aside}`;
  file = openKeptFile(path, projections, () => undefined);
  damage = undefined;
  caughtUp = false;
  remade(why);
  return file;
}

while (!stop.signal.aborted) {
  try {
    const { db, written } = soundFile();
    ended = new AbortController();
    const onApplied = (applied: Applied) => {
      report(applied);
      watchfully(written);
    };
    await runProjections(log, db, projections, { signal: ended.signal, onApplied, batchSize, pause });
  } catch (error) {
    if (error instanceof LogRefused) {
      say({ kind: 'refused', reason: error.reason, message: error.message });
      await stopped;
      break;
    }
    const message = error instanceof Error ? error.message : String(error);
    if (error instanceof DamagedFile || isDamage(error)) damaged(message);
    say({ kind: 'failed', message });
    await delay(retryAfter, undefined, { signal: stop.signal }).catch(() => undefined);
  }
}
clearInterval(checks);
file?.close();
await log.close();
// Ends this thread, whatever a client of the store may still have under way.
process.exit();
