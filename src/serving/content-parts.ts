import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { durationOf } from '../config/duration.js';
import type { ServerConfig } from '../config.js';
import type { ContentStore } from '../content/content.js';
import { type LocalContent, openLocalContent } from '../content/local-content.js';
import { refusingErased } from '../content/refusing-erased.js';
import { messageOf, quote } from '../domain/errors.js';
import { parseContentUrl } from '../domain/outputs/content-url.js';
import { type HeldContent, heldContent } from '../jobs/content/held-content.js';
import { contentRetention, type Retention, watchRetention } from '../jobs/content/retention.js';
import type { JobsContext } from '../jobs/context.js';
import { contentKey } from '../jobs/own-writes.js';
import { callCas } from '../rpc/content/called/call-cas.js';
import { calledContent } from '../rpc/content/called/called-content.js';

/** How long it is known without another look that nothing was erased, in milliseconds: other servers may have erased something. */
const erasedFor = 10_000;

/** What looks after what jobs left, and for how long it stays. */
export type Keeping = { readonly held: HeldContent; readonly retention: Retention };

/** Bytes by their address, and what looks after those that jobs left. */
export type ContentParts = {
  readonly content: ContentStore;
  /** The same store where this server keeps it itself, and not another one that it calls. */
  readonly local: LocalContent | undefined;
  /** Absent where servers keep nothing of jobs, since log format 4 is not allowed. */
  readonly keeping: Keeping | undefined;
};

/**
 * Opens the content of a server: in its data directory, or in the store that it is told of, for which it keeps uploads until they are whole. What was
 * erased is not taken again.
 */
export function openContent(
  { data_dir, content: { store, ca, scrub_rate: scrubRate } }: ServerConfig,
  context: Pick<JobsContext, 'readModel' | 'written' | 'edge'>,
  logger: Logger,
): Pick<ContentParts, 'content' | 'local'> {
  const isErased = erasedNow(context);
  if (store === undefined) {
    const opened = openLocalContent({ directory: join(data_dir, 'content'), scrubRate }, logger);
    const local = refusingErased(opened, isErased);
    return { content: local, local };
  }
  const directory = join(data_dir, 'content-spool');
  // What was whole and not passed on is uploaded again by who waits for it.
  rmSync(join(directory, 'blobs'), { recursive: true, force: true });
  const spool = openLocalContent({ directory, scrubRate: 0 }, logger);
  const called = callCas(parseContentUrl(store), ca === undefined ? undefined : authorityIn(ca));
  const elsewhere = calledContent({
    called,
    spool,
    directory: join(data_dir, 'content-elsewhere'),
    edge: context.edge,
  });
  return { content: refusingErased(elsewhere, isErased), local: undefined };
}

/** @throws Error naming the file */
function authorityIn(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new Error(`content.ca ${quote(path)} cannot be read: ${messageOf(error)}`, { cause: error });
  }
}

/** Looks after what jobs leave there. What nothing keeps is swept from time to time, until `stop`. */
export function keepContent(
  context: JobsContext,
  { content, local }: Pick<ContentParts, 'content' | 'local'>,
  config: ServerConfig,
  logger: Logger,
): (Keeping & { stop(): Promise<void> }) | undefined {
  if (!context.sharesRuns) return undefined;
  const { keep, quota, quota_by_principal: quotaByPrincipal } = config.content;
  const held = heldContent(context, content, { unchecked: config.content_unchecked }, logger);
  const options = { keep: keep === undefined ? undefined : durationOf(keep), quota, quotaByPrincipal };
  const retention = contentRetention(context, local, held, options);
  if (!local) return { held, retention, stop: async () => undefined };
  if (!context.store.exclusive) {
    logger.info(
      'content is kept in the data directory: other servers of this log do not reach it, and need content to name a store',
    );
  }
  const { stop } = watchRetention(retention, logger);
  return { held, retention, stop };
}

/** Tells what must not exist any more. Where nothing was erased, that is known without a look. */
function erasedNow({
  readModel,
  written,
  edge,
}: Pick<JobsContext, 'readModel' | 'written' | 'edge'>): (hash: string) => boolean {
  let known: { readonly any: boolean; readonly until: number } | undefined;
  const forget = () => {
    known = undefined;
  };
  written.onRemade(forget);
  written.onNote((key) => {
    if (key === contentKey) void written.seen(contentKey).then(forget, forget);
  });
  return (hash) => {
    const now = edge.now();
    if (!known || now >= known.until) known = { any: readModel.content.anyErased(), until: now + erasedFor };
    return known.any && readModel.content.isErased(hash);
  };
}
