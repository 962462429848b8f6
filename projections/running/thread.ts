import { constants, platform, setPriority } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { systemEdge } from '../../src/edge.js';
import { openLog } from '../../src/eventstore/open-store.js';
import { LogRefused } from '../../src/eventstore/port.js';
import { projectionSets } from '../all.js';
import { isDamage, openReadModelFile, removeReadModelFile } from './database.js';
import { type Applied, runProjections } from './runner.js';
import type { ThreadData, ThreadMessage } from './thread-protocol.js';

// The thread that keeps one set of projections, so that a rebuild or a burst never holds up the thread that answers calls.

/** Events in one transaction while the log's past is applied: the more, the less often a page of an index is written again. */
const batchSize = 1_000;

/** How long to wait after a failure, such as a full disk, before the batch is tried again, in milliseconds. */
const retryAfter = 1_000;

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

const stopped = new Promise<void>((resolve) => stop.signal.addEventListener('abort', () => resolve(), { once: true }));
parentPort?.once('message', () => stop.abort());

const log = openLog(storeUrl, systemEdge, (message) => say({ kind: 'failed', message }));
const db = openReadModelFile(path, projections);
say({ kind: 'opened', end: await log.end() });
while (!stop.signal.aborted) {
  try {
    await runProjections(log, db, projections, { signal: stop.signal, onApplied: report, batchSize, pause });
  } catch (error) {
    if (isDamage(error)) {
      db.close();
      removeReadModelFile(path);
      throw new Error(`its file was damaged and is removed, the next start makes it anew: ${(error as Error).message}`);
    }
    if (error instanceof LogRefused) {
      say({ kind: 'refused', reason: error.reason, message: error.message });
      await stopped;
      break;
    }
    say({ kind: 'failed', message: error instanceof Error ? error.message : String(error) });
    await delay(retryAfter, undefined, { signal: stop.signal }).catch(() => undefined);
  }
}
db.close();
await log.close();
// Ends this thread, whatever a client of the store may still have under way.
process.exit();
