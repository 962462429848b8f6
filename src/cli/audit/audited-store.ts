import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { serverSettings } from '../../config/settings.js';
import type { ServerConfig } from '../../config.js';
import { MemoirError } from '../../domain/errors.js';
import type { VerifierKey } from '../../domain/log-tree/verifier-key.js';
import { systemEdge } from '../../edge.js';
import { openLog, storeUrlOf } from '../../eventstore/open-store.js';
import type { EventLog } from '../../eventstore/port.js';
import { auditorsTrust } from '../../serving/signing.js';
import { meant } from '../log/log-store.js';
import { sourcesOf } from '../log/store-options.js';
import { note } from '../text/output.js';
import { keysOf } from './audit-evidence.js';
import type { AuditOptions } from './audit-options.js';

/** A store that is audited, opened for reading, and an empty directory. */
export type AuditedStore = { readonly config: ServerConfig; readonly log: EventLog; readonly directory: string };

/**
 * Opens the store that a server with these options has, and lets go of everything afterwards.
 * @throws MemoirError INVALID_ARGUMENT if a setting is wrong; UNAVAILABLE if the store cannot be read
 */
export async function withAuditedStore<T>(
  options: AuditOptions,
  work: (store: AuditedStore) => Promise<T>,
): Promise<T> {
  const sources = sourcesOf(options);
  const config = await serverSettings({ ...sources, flags: { ...sources.flags, repositories: options.repository } });
  const directory = await mkdtemp(join(options.tempDir ?? tmpdir(), 'memoir-audit-'));
  let log: EventLog | undefined;
  try {
    const read = await opened(config, keysOf(options));
    log = read;
    return await meant(() => work({ config, log: read, directory }));
  } finally {
    await log?.close();
    await rm(directory, { recursive: true, force: true });
  }
}

async function opened(config: ServerConfig, keys: readonly VerifierKey[]): Promise<EventLog> {
  const trust = auditorsTrust(
    config,
    keys.map(({ text }) => text),
  );
  try {
    return await openLog(storeUrlOf(config), systemEdge, note, true, trust);
  } catch (error) {
    const message = `the store cannot be read: ${(error as Error).message}`;
    throw new MemoirError('UNAVAILABLE', 'STORE_UNAVAILABLE', message, { cause: error });
  }
}

/** How often progress is told, in milliseconds. */
const interval = 2_000;

/** Tells people of progress, not too often. */
export function progress(): (line: () => string) => void {
  let last = performance.now();
  return (line) => {
    if (performance.now() - last < interval) return;
    last = performance.now();
    note(line());
  };
}
