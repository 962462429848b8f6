import { mkdtemp, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Job } from '../../gen/memoir/jobs/v1/job_pb.js';
import { MemoirError, quote } from '../domain/errors.js';
import type { Edge } from '../edge.js';
import type { ContentStore } from './content-store.js';
import { type Heart, startHeart } from './heart.js';
import { sendLiveLog } from './live-log.js';
import type { Ended } from './process-group.js';
import { removeTree } from './remove-tree.js';
import { reportCompletion, reportFailure } from './report.js';
import { RunFailure, RunLost } from './run-failure.js';
import { makePlaces, placesIn, type RunPlaces, runScript, type ScriptSettings } from './run-script.js';
import type { WorkerClient } from './worker-client.js';

/** What every run of a worker needs. */
export type RunContext = ScriptSettings & {
  readonly worker: WorkerClient;
  readonly store: ContentStore;
  /** Directory in which every run has one of its own. */
  readonly workDirectory: string;
  /** Most bytes of a run's log file; a script that writes more is killed. */
  readonly logLimit: number;
  readonly edge: Edge;
  readonly logger: Logger;
};

/**
 * Runs a claimed job and reports how it ended. Never throws: what goes wrong fails the job, or is logged where the server
 * accepts nothing more.
 * @param stopped aborts when the worker itself has to end; the job then fails with WORKER_STOPPED
 */
export async function runJob(context: RunContext, job: Job, leaseMs: number, stopped: AbortSignal): Promise<void> {
  const logger = context.logger.child({ job: job.uuid });
  const started = context.edge.monotonic();
  // One signal for all reasons to end early: a RunLost, or a RunFailure.
  const end = new AbortController();
  const stop = () => end.abort(new RunFailure('WORKER_STOPPED', 'the worker was stopped while it ran the job'));
  if (stopped.aborted) stop();
  else stopped.addEventListener('abort', stop, { once: true });

  let directory: string | undefined;
  let heart: Heart | undefined;
  let watch: NodeJS.Timeout | undefined;
  try {
    directory = await mkdtemp(join(context.workDirectory, `${job.uuid}-`));
    const places = placesIn(directory);
    heart = startHeart({
      worker: context.worker,
      uuid: job.uuid,
      leaseMs,
      progressPath: places.progress,
      edge: context.edge,
      onLost: (lost) => end.abort(lost),
    });
    watch = watchLog(places.log, context.logLimit, (failure) => end.abort(failure));
    logger.info({ repository: job.repository, script: job.script, commit: job.scriptVersion }, 'running');
    const outcome = await perform(context, job, places, heart, end.signal, logger);
    logger.info({ ms: Math.round(context.edge.monotonic() - started), ...outcome }, 'finished');
  } catch (error) {
    if (error instanceof RunLost) logger.warn({ why: error.message }, 'given up');
    else logger.error({ err: error }, 'the end of the run could not be reported; its lease will run out');
  } finally {
    stopped.removeEventListener('abort', stop);
    clearInterval(watch);
    await heart?.stop();
    if (directory !== undefined) {
      await removeTree(directory).catch((err: unknown) => logger.error({ err, directory }, 'left behind'));
    }
  }
}

/** The run and its report. @throws RunLost, or CallError if the report is refused */
async function perform(
  context: RunContext,
  job: Job,
  places: RunPlaces,
  heart: Heart,
  signal: AbortSignal,
  logger: Logger,
): Promise<Record<string, string>> {
  const { worker, store } = context;
  let log = '';
  try {
    await makePlaces(places);
    const ended = await withLiveLog(context, job, places, signal, logger, () =>
      runScript(job, places, context, signal),
    );
    if (signal.reason instanceof RunLost) throw signal.reason;
    log = await store.putFile(places.log, 'log.txt');
    signal.throwIfAborted();
    if (ended.code !== 0) throw new RunFailure('SCRIPT_FAILED', `${quote(job.script)} ${endText(ended)}`);
    const output = await store.putDirectory(places.output, signal);
    await reportCompletion(worker, { uuid: job.uuid, output, log, tasksSummary: await heart.tasks() }, signal);
    return { state: 'Complete', output, log };
  } catch (error) {
    if (error instanceof RunLost) throw error;
    const { reason, message } = failureOf(error, logger);
    await reportFailure(worker, { uuid: job.uuid, reason, message, log, tasksSummary: await heart.tasks() }, signal);
    return { state: 'Failed', reason, message };
  }
}

/** Sends the live log while `work` goes on, and what is left of it after that. Without it the run goes on all the same. */
async function withLiveLog<T>(
  { worker }: RunContext,
  job: Job,
  places: RunPlaces,
  signal: AbortSignal,
  logger: Logger,
  work: () => Promise<T>,
): Promise<T> {
  const finished = new AbortController();
  const sending = sendLiveLog(worker, job.uuid, places.log, finished.signal, signal).catch((error: unknown) => {
    if (!signal.aborted) logger.warn({ err: error }, 'the live log ends here');
  });
  try {
    return await work();
  } finally {
    finished.abort();
    await sending;
  }
}

/** Looks often whether the log grows out of bounds, so that a script cannot fill the disk by it. */
function watchLog(path: string, limit: number, onExceeded: (failure: RunFailure) => void): NodeJS.Timeout {
  return setInterval(async () => {
    const size = await stat(path).then(
      (found) => found.size,
      () => 0,
    );
    if (size > limit)
      onExceeded(new RunFailure('LOG_TOO_LARGE', `the script wrote more than ${limit} bytes of output`));
  }, 200);
}

function endText({ code, signal }: Ended): string {
  return signal === null ? `exited with code ${code}` : `was ended by ${signal}`;
}

function failureOf(error: unknown, logger: Logger): { reason: string; message: string } {
  if (error instanceof RunFailure) return error;
  if (error instanceof MemoirError) return error;
  logger.error({ err: error }, 'the worker failed');
  return { reason: 'WORKER_FAILED', message: `the worker could not run the job: ${(error as Error).message}` };
}
