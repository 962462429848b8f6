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

/** Longest time for which a server holds an answer back, in milliseconds. */
const longestWaitMs = 300_000;

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
  readonly claimToken: Uint8Array<ArrayBuffer>;
  /** Where the script may report progress. */
  readonly progressPath: string;
  /** What is told of what it says there. */
  readonly masked: (text: string) => string;
  readonly edge: Pick<Edge, 'monotonic'>;
  /** Called each time the server says that the run is held. */
  readonly onHeld?: () => void;
  /** Called once, when the server says that it accepts nothing more of the run. */
  readonly onLost: (lost: RunLost) => void;
};

/**
 * Sends a heartbeat three times in a lease, whose answer the server holds back until the next is due, so that the end of the attempt,
 * such as a cancellation, is known at once; and others between them when the script reports progress. A server that cannot be reached
 * is tried again until it says whether the job is still held: it knows, and may itself have been away.
 */
export function startHeart({
  worker,
  uuid,
  leaseMs,
  claimToken,
  progressPath,
  masked,
  edge,
  onHeld,
  onLost,
}: HeartSettings): Heart {
  const stopped = new AbortController();
  const tickMs = Math.min(progressIntervalMs, leaseMs / 6);
  const beatMs = Math.floor(Math.min(leaseMs / 3, longestWaitMs));
  let progress: Progress | undefined;
  const beating = Promise.all([beat(), tell()]);

  async function beat(): Promise<void> {
    // The claim began the lease, and many jobs are over by now.
    await sleep(tickMs, undefined, { signal: stopped.signal }).catch(() => {});
    while (!stopped.signal.aborted) {
      const sentAt = edge.monotonic();
      const answer = await send(undefined, beatMs);
      if (answer === 'lost') return;
      // A server that does not hold answers back is not asked sooner for that.
      const pause = answer === 'again' ? tickMs : beatMs - (edge.monotonic() - sentAt);
      if (pause > 0) await sleep(pause, undefined, { signal: stopped.signal }).catch(() => {});
    }
  }

  async function tell(): Promise<void> {
    let sent = '';
    while (!stopped.signal.aborted) {
      await sleep(tickMs, undefined, { signal: stopped.signal }).catch(() => {});
      if (stopped.signal.aborted) return;
      progress = (await readProgress(progressPath, masked)) ?? progress;
      const said = JSON.stringify(progress) ?? '';
      if (said === sent) continue;
      const answer = await send(progress, 0);
      if (answer === 'lost') return;
      if (answer === 'again') continue;
      sent = said;
      await sleep(progressIntervalMs - tickMs, undefined, { signal: stopped.signal }).catch(() => {});
    }
  }

  /** Sends a heartbeat. Whoever waits for the end of the attempt is told of it here, once. */
  async function send(news: Progress | undefined, waitMs: number): Promise<'held' | 'again' | 'lost'> {
    const answer = await ask(news, waitMs);
    if (answer === 'held') onHeld?.();
    if (typeof answer === 'string') return answer;
    if (!stopped.signal.aborted) onLost(answer);
    stopped.abort();
    return 'lost';
  }

  async function ask(news: Progress | undefined, waitMs: number): Promise<RunLost | 'held' | 'again'> {
    const tasks = tasksOf(news);
    try {
      const answer = await worker.heartbeat(
        {
          uuid,
          claimToken,
          wait: durationFromMs(waitMs),
          lease: durationFromMs(leaseMs),
          ...(tasks && { tasksSummary: tasks }),
          ...(news?.progress !== undefined && { progress: news.progress }),
          ...(news?.message !== undefined && { progressMessage: news.message }),
        },
        { signal: waitMs > 0 ? stopped.signal : undefined, timeoutMs: waitMs + Math.max(leaseMs / 3, 1_000) },
      );
      if (answer.state === JobState.RUNNING) return 'held';
      return new RunLost(`the job is ${stateName(answer.state)}`);
    } catch (error) {
      if (stopped.signal.aborted || isTransient(error)) return 'again';
      return new RunLost(`the server refuses heartbeats: ${quote((error as Error).message)}`);
    }
  }

  return {
    tasks: async () => tasksOf((await readProgress(progressPath, masked)) ?? progress),
    async stop() {
      stopped.abort();
      await beating;
    },
  };
}

function tasksOf(progress: Progress | undefined): TasksSummary | undefined {
  return progress?.tasks && create(TasksSummarySchema, progress.tasks);
}
