import { join } from 'node:path';
import type { Logger } from 'pino';
import type { PastFiles } from '../../projections/history/as-of.js';
import type { KeptFile } from '../../projections/running/kept-files.js';
import type { ServerConfig } from '../config.js';
import { quote } from '../domain/errors.js';
import type { Edge } from '../edge.js';
import type { Signing } from '../eventstore/signing/signed-log.js';

/** What an operator lets the server go on with, though it is not what was known. */
export type Accepted = {
  /** A log that lost its end, or is missing. */
  readonly shorterLog?: boolean;
  /** A log in which other events stand where known ones were. */
  readonly otherLog?: boolean;
};

/** What the log of a server is opened with. */
export type Opening = {
  readonly config: ServerConfig;
  readonly files: PastFiles;
  /** Path of the checkpoint that is kept beside the log. */
  readonly keptCheckpoint: string;
  readonly edge: Edge;
  readonly accepted: Accepted;
  /** Signs what is recorded; absent where nothing is signed. */
  readonly signing?: Signing | undefined;
  readonly logger: Logger;
};

/** The files that are kept beside a log, and what messages call them. */
export function keptFiles({ readModel, history }: PastFiles): readonly KeptFile[] {
  return [
    { path: readModel, what: `the read model ${quote(readModel)}` },
    { path: history, what: `the history ${quote(history)}` },
  ];
}

/** Path of a new directory that things are moved into; `id` is a UUID of its own. */
export function asideDirectory(dataDirectory: string, edge: Edge, id = edge.uuid()): string {
  return join(dataDirectory, `aside-${new Date(edge.now()).toISOString().replaceAll(':', '-')}-${id.slice(0, 8)}`);
}
