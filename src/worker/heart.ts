import { setTimeout as sleep } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { JobState, type TasksSummary, TasksSummarySchema } from '../../gen/memoir/jobs/v1/job_pb.js';
import { quote } from '../domain/errors.js';
import { stateName } from '../domain/job.js';
import type { Edge } from '../edge.js';
import { type Progress, readProgress } from './progress-file.js';
import { isTransient } from './retry.js';
import { RunLost } from './run-failure.js';
import type { WorkerClient } from './worker-client.js';

/** Shortest time between two heartbeats that bring progress, in milliseconds. */
const progressIntervalMs = 1_000;

/** What holds a job while it runs. */
export type Heart = {
  /** The tasks that the script has reported up to now; undefined if none. */
  tasks(): Promise<TasksSummary | undefined>;
  /** Ends the heartbeats. Resolves when none is under way. */
  stop(): Promise<void>;
};

/** What a heart needs. */
export type HeartSettings = {
  readonly worker: WorkerClient;
  readonly uuid: string;
  readonly leaseMs: number;
  /** Where the script may report progress. */
  readonly progressPath: string;
  readonly edge: Pick<Edge, 'monotonic'>;
  /** Called once, when the server says that it accepts nothing more of the run. */
  readonly onLost: (lost: RunLost) => void;
};

/**
 * Sends a heartbeat three times in a lease, and sooner when the script reports progress. A server that cannot be reached is tried
 * again until it says whether the job is still held: it knows, and may itself have been away.
 */
export function startHeart({ worker, uuid, leaseMs, progressPath, edge, onLost }: HeartSettings): Heart {
  const stopped = new AbortController();
  const tickMs = Math.min(progressIntervalMs, leaseMs / 6);
  let sentAt = edge.monotonic();
  let sent = '';
  let progress: Progress | undefined;
  const beating = beat();

  async function beat(): Promise<void> {
    while (!stopped.signal.aborted) {
      await sleep(tickMs, undefined, { signal: stopped.signal }).catch(() => {});
      if (stopped.signal.aborted) return;
      progress = (await readProgress(progressPath)) ?? progress;
      const said = JSON.stringify(progress) ?? '';
      const since = edge.monotonic() - sentAt;
      if (since < leaseMs / 3 && (said === sent || since < progressIntervalMs)) continue;
      const lost = await send(said === sent ? undefined : progress);
      if (lost === 'again') continue;
      if (lost) {
        if (!stopped.signal.aborted) onLost(lost);
        return;
      }
      sent = said;
      sentAt = edge.monotonic();
    }
  }

  async function send(news: Progress | undefined): Promise<RunLost | 'again' | undefined> {
    const tasks = tasksOf(news);
    try {
      const answer = await worker.heartbeat(
        {
          uuid,
          lease: durationFromMs(leaseMs),
          ...(tasks && { tasksSummary: tasks }),
          ...(news?.progress !== undefined && { progress: news.progress }),
          ...(news?.message !== undefined && { progressMessage: news.message }),
        },
        { timeoutMs: Math.max(leaseMs / 3, 1_000) },
      );
      if (answer.state === JobState.RUNNING) return undefined;
      return new RunLost(`the job is ${stateName(answer.state)}`);
    } catch (error) {
      if (isTransient(error)) return 'again';
      return new RunLost(`the server refuses heartbeats: ${quote((error as Error).message)}`);
    }
  }

  return {
    tasks: async () => tasksOf((await readProgress(progressPath)) ?? progress),
    async stop() {
      stopped.abort();
      await beating;
    },
  };
}

function tasksOf(progress: Progress | undefined): TasksSummary | undefined {
  return progress?.tasks && create(TasksSummarySchema, progress.tasks);
}
