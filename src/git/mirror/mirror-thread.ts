import type { Call } from '../../threads/methods.js';
import { serveThread } from '../../threads/serve-thread.js';
import { errno } from '../problem.js';
import { createAgents } from '../protocol/http-transport.js';
import type { Pruned } from '../prune/prune-packs.js';
import { type Fetched, type FetchProgress, fetchMirror, type MirrorSource, type Remembered } from './fetch-mirror.js';
import { pruneMirror, type Staying } from './prune-mirror.js';

// The thread that fetches one mirror, and remembers how its remote is spoken to.

type Prunable = Pick<MirrorSource, 'directory' | 'limits'>;

/** What goes wrong is told without the paths of this machine: callers are told. */
function withoutPaths(error: unknown): unknown {
  const code = errno(error);
  const isOwn = error instanceof Error && ('path' in error || error.message.includes(' cannot be written: '));
  return code && isOwn ? new Error(`its mirror cannot be written: ${code}`, { cause: error }) : error;
}

const open = () => {
  const remembered: Remembered = {};
  const agents = createAgents();
  return {
    fetch: (source: MirrorSource, { tell }: Call<FetchProgress>): Promise<Fetched> =>
      fetchMirror(source, remembered, agents, tell).catch((error: unknown) => {
        throw withoutPaths(error);
      }),
    prune: ({ source, staying }: { readonly source: Prunable; readonly staying: Staying }): Promise<Pruned> =>
      pruneMirror(source, staying),
  };
};

/** The thread's type. */
export type MirrorThread = typeof open;

serveThread(open);
