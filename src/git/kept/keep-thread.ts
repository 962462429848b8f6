import { parentPort } from 'node:worker_threads';
import { LRUCache } from 'lru-cache';
import { checkoutLimits } from '../checkout-limits.js';
import { createPageCache } from '../objects/paged-file.js';
import { packError } from '../reader/sent-error.js';
import { keepCommit } from './keep-commit.js';
import type { KeepReply, KeepRequest } from './keep-protocol.js';

// The thread that copies commits to where they are kept, one after the other: so there is one object in memory at a time, and
// nobody else writes there.

/** Bytes of pages of packs and indexes that are kept. */
const pageBytes = 16 * 1024 * 1024;

/** Trees that are remembered as whole. */
const remembered = 50_000;

const pages = createPageCache(pageBytes);
const whole = new LRUCache<string, true>({ max: remembered });
const running = new Map<number, AbortController>();
let last: Promise<void> = Promise.resolve();

async function keep({ number, what }: Extract<KeepRequest, { kind: 'keep' }>, signal: AbortSignal): Promise<void> {
  let reply: KeepReply;
  try {
    signal.throwIfAborted();
    reply = { number, kept: await keepCommit(what, { limits: checkoutLimits, pages, whole, signal }) };
  } catch (error) {
    reply = { number, error: packError(error) };
  }
  running.delete(number);
  parentPort?.postMessage(reply);
}

parentPort?.on('message', (request: KeepRequest) => {
  if (request.kind === 'keep') {
    const controller = new AbortController();
    running.set(request.number, controller);
    last = last.then(() => keep(request, controller.signal));
  } else if (request.kind === 'cancel') running.get(request.number)?.abort();
  else {
    for (const controller of running.values()) controller.abort();
    last = last.then(() => parentPort?.close());
  }
});
