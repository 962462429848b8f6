import { mkdir, realpath } from 'node:fs/promises';
import { type OutputEntry, OutputEntry_Kind } from '../../../gen/memoir/content/v1/content_service_pb.js';
import type { Clients } from '../client.js';
import { checkEntries } from './checked-entries.js';
import { fetchFile } from './fetch-file.js';
import { makeDirectories, makeLink, type Placing } from './make-entries.js';

/** Files that are fetched at a time. */
const lanes = 4;

/** What to fetch, and where to. */
export type Fetching = {
  readonly uuid: string;
  /** A path in the output; empty for all of it. */
  readonly path: string;
  readonly to: string;
  /** Whether other files that lie there are replaced. */
  readonly overwrite: boolean;
  /** Number of the attempt whose part of an output is fetched; 0 for the output of the job. */
  readonly attempt: number;
};

/** How far it is. */
export type Fetched = {
  /** Files and links that are in their place, of so many. */
  readonly files: number;
  readonly of: number;
  /** Bytes that came, or were there. */
  readonly bytes: bigint;
  readonly ofBytes: bigint;
};

/**
 * Fetches an output into a directory, under the paths that it has in the output: directories, then files, several at a time, each verified by its
 * hash, then links. What is there already, whole or in part, is not fetched again. Nothing is written through a link that lies there.
 * @throws MemoirError ALREADY_EXISTS naming a path where something else lies, DATA_LOSS if bytes are not what they should be; CallError; Error of the
 * system
 */
export async function fetchOutput(
  clients: Pick<Clients, 'content'>,
  { uuid, path, to, overwrite, attempt }: Fetching,
  onProgress: (fetched: Fetched) => void,
): Promise<Fetched> {
  const entries: OutputEntry[] = [];
  for await (const answer of clients.content.listOutput({ uuid, path, recursive: true, attempt })) {
    entries.push(...answer.entries);
  }
  checkEntries(entries);
  await mkdir(to, { recursive: true });
  const placing: Placing = { root: await realpath(to), overwrite, made: new Set() };
  const ofKind = (kind: OutputEntry_Kind) => entries.filter((entry) => entry.kind === kind);
  const [files, links] = [ofKind(OutputEntry_Kind.FILE), ofKind(OutputEntry_Kind.SYMLINK)];
  const sizeOf = ({ digest }: OutputEntry) => digest?.sizeBytes ?? 0n;
  let done: Fetched = {
    files: 0,
    of: files.length + links.length,
    bytes: 0n,
    ofBytes: files.reduce((sum, file) => sum + sizeOf(file), 0n),
  };
  const moved = (more: number, bytes: number) => {
    done = { ...done, files: done.files + more, bytes: done.bytes + BigInt(bytes) };
    onProgress(done);
  };
  for (const entry of ofKind(OutputEntry_Kind.DIRECTORY)) await makeDirectories(placing, entry.path.split('/'));
  const left = files.values();
  const failed = new AbortController();
  const lane = async () => {
    for (const file of left) {
      failed.signal.throwIfAborted();
      await makeDirectories(placing, file.path.split('/').slice(0, -1));
      await fetchFile(clients, { uuid, attempt }, file, placing, (bytes) => moved(0, bytes));
      moved(1, 0);
    }
  };
  await Promise.all(
    Array.from({ length: lanes }, () =>
      lane().catch((error) => {
        failed.abort(error);
        throw error;
      }),
    ),
  );
  for (const { path: at, target } of links) {
    await makeDirectories(placing, at.split('/').slice(0, -1));
    await makeLink(placing, at, target);
    moved(1, 0);
  }
  return done;
}
