import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { ServerConfig } from '../config.js';
import type { ContentStore } from '../content/content.js';
import { openLocalContent } from '../content/local-content.js';
import { parseContentUrl } from '../domain/outputs/content-url.js';
import type { Edge } from '../edge.js';
import { callCas } from '../rpc/content/called/call-cas.js';
import { calledContent } from '../rpc/content/called/called-content.js';

/** The content of a server: in its data directory, or in the store that it is told of, for which it keeps uploads until they are whole. */
export function openContent({ data_dir, content }: ServerConfig, edge: Edge, logger: Logger): ContentStore {
  if (content.store === undefined) {
    return openLocalContent({ directory: join(data_dir, 'content'), scrubRate: content.scrub_rate }, logger);
  }
  const directory = join(data_dir, 'content-spool');
  // What was whole and not passed on is uploaded again by who waits for it.
  rmSync(join(directory, 'blobs'), { recursive: true, force: true });
  const spool = openLocalContent({ directory, scrubRate: 0 }, logger);
  const called = callCas(parseContentUrl(content.store));
  return calledContent({ called, spool, directory: join(data_dir, 'content-elsewhere'), edge });
}
