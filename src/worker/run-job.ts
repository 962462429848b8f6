import { readdir, rm, writeFile } from 'node:fs/promises';
import type { Logger } from 'pino';
import { Fault } from '../../gen/memoir/jobs/v1/attempt_pb.js';
import type { Job } from '../../gen/memoir/jobs/v1/job_pb.js';
import { MemoirError } from '../domain/errors.js';
import type { Edge } from '../edge.js';
import { CallError } from '../rpc/call-error.js';
import { type DiskLimits, watchDiskUse } from './disk-use.js';
import type { Health } from './health.js';
import { type Heart, startHeart } from './heart.js';
import { type HeldLog, sendLiveLog } from './live-log.js';
import type { Pipes } from './pipes.js';
import { ContentIncomplete, reportCompletion, reportFailure } from './report.js';
import type { PlacedCheckout } from './run/kept-checkouts.js';
import type { Bounds, RanSoFar } from './run/run-host.js';
import { watchRunLimit } from './run/run-limit.js';
import type { RunPlaces } from './run/run-places.js';
import { scriptFailure } from './run/script-failure.js';
import { GivenBack, PlaceFault, RunFailure, RunLost, workPlace } from './run-failure.js';
import type { RunLog } from './run-log.js';
import {
  type PreparedRun,
  pathsOf,
  type Ran,
  runScript,
  type ScriptSettings,
  type Speaker,
  stopwatch,
} from './run-script.js';
import type { HeldRun, Outputs, Stored } from './store/outputs.js';
import { sayUnstored, type UnstoredOutputs } from './store/unstored-outputs.js';
import { strayFiles } from './stray-files.js';
import type { WorkerClient } from './worker-client.js';

/** How often an output is uploaded that the server then lacks something of, before the job is given up. */
const mostUploads = 3;

/** How long the log of a run that has to end may take to be stored, in milliseconds. */
const lastLogMs = 10_000;

/** How much of what a run had made until it failed is stored, in bytes, and for how long that may take, in milliseconds. */
const mostOfPart = 1024 ** 3;
const partMs = 60_000;

/** What every run of a worker needs. */
export type RunContext = ScriptSettings & {
  readonly worker: WorkerClient;
  readonly outputs: Outputs;
  /** Where outputs are kept for a while that cannot be stored. */
  readonly unstored: UnstoredOutputs;
  readonly health: Health;
  /** Directory in which every run has one of its own. */
  readonly workDirectory: string;
  /** What scripts print goes through them. */
  readonly pipes: Pipes;
  /** Most bytes of a run's log; a script that prints more is killed. */
  readonly logLimit: number;
  readonly limits: DiskLimits;
  /** What of the worker a job may take at most. */
  readonly bounds: (job: Job) => Bounds;
  readonly edge: Edge;
  readonly logger: Logger;
};

/** A job that the worker holds. */
export type ClaimedJob = {
  readonly job: Job;
  /** Length of the lease in milliseconds. */
  readonly leaseMs: number;
  /** Names the attempt in every call. */
  readonly claimToken: Uint8Array<ArrayBuffer>;
  /** Everybody who wants it, if it asks for secrets. */
  readonly interested: readonly string[];
};

/**
 * Runs a claimed job in a run that was prepared for it, reports how it ended, and removes the run. Never throws: what goes wrong fails
 * the job, or is logged where the server accepts nothing more.
 * @param stopped aborts when the worker itself has to end; the job is then given back, with WORKER_STOPPED
 */
export async function runJob(
  context: RunContext,
  claimed: ClaimedJob,
  run: PreparedRun,
  stopped: AbortSignal,
): Promise<void> {
  const { job } = claimed;
  const logger = context.logger.child({ job: job.uuid });
  const started = context.edge.monotonic();
  const held = { uuid: job.uuid, claimToken: claimed.claimToken };
  const { countedOn } = context.staging.source;
  // One signal for all reasons to end early: a RunLost, or a RunFailure.
  const end = new AbortController();
  const stop = () => end.abort(new GivenBack());
  if (stopped.aborted) stop();
  else stopped.addEventListener('abort', stop, { once: true });
  const heart = startHeart({
    worker: context.worker,
    ...held,
    leaseMs: claimed.leaseMs,
    progressPath: run.places.progress,
    masked: run.log.masked,
    edge: context.edge,
    onHeld: () => countedOn?.renew(held),
    onLost: (lost) => end.abort(lost),
  });
  try {
    logger.info({ repository: job.repository, script: job.script, commit: job.scriptVersion }, 'running');
    const outcome = await beside(
      (finished) => watchRunLimit(job.limits?.run, context.edge, finished, (failure) => end.abort(failure)),
      () => perform({ ...context, logger }, claimed, run, heart, end),
    );
    logger.info({ ms: Math.round(context.edge.monotonic() - started), ...outcome }, 'finished');
  } catch (error) {
    if (error instanceof RunLost) logger.warn({ why: error.message }, 'given up');
    else logger.error({ err: error }, 'the end of the run could not be reported; its lease will run out');
  } finally {
    stopped.removeEventListener('abort', stop);
    await heart.stop();
    countedOn?.end(held);
    if (run.checkout) await context.checkouts?.keep(run.checkout);
    await run.remove().catch((err: unknown) => {
      logger.error({ err, directory: run.places.directory }, 'left behind');
      context.health.fault(workPlace, err);
    });
  }
}

/** The run and its report. @throws RunLost, or CallError if the report is refused */
async function perform(
  context: RunContext,
  claimed: ClaimedJob,
  run: PreparedRun,
  heart: Heart,
  end: AbortController,
): Promise<Record<string, string>> {
  const { worker, health, logger } = context;
  const { job } = claimed;
  const { signal } = end;
  const held = { uuid: job.uuid, claimToken: claimed.claimToken };
  const kept: { log: Stored | undefined; scriptEnded: boolean } = { log: undefined, scriptEnded: false };
  const ran: RanSoFar = { phases: {} };
  try {
    const { ended, stray } = await runWithLogs(context, claimed, run, ran, end);
    kept.scriptEnded = true;
    const took = stopwatch(context.edge);
    kept.log = await storeLog(context, run, held, signal);
    signal.throwIfAborted();
    const failed = await scriptFailure(job, ended, run.log, context);
    if (failed) throw failed;
    kept.scriptEnded = false;
    for (let tries = 1; ; tries++) {
      const output = await storeOutput(context, job, run, held, signal);
      if (output.isEmpty && stray !== '') logger.warn(stray);
      if (output.isEmpty && job.requireOutput) {
        const why = stray === '' ? 'the script left no file in the directory that MEMOIR_OUTPUT names' : stray;
        throw new RunFailure('NO_OUTPUT', `an output is required: ${why}`);
      }
      try {
        const result = { ...told('output', output), ...told('log', kept.log) };
        ran.phases.stored ??= took();
        ran.storedBytes = (output.bytes ?? 0n) + (kept.log?.bytes ?? 0n);
        await reportCompletion(worker, { ...held, ...result, ran, tasksSummary: await heart.tasks() }, signal);
        health.success(job.repository);
        return { state: 'Complete', output: output.address, log: kept.log?.address ?? '' };
      } catch (error) {
        if (!(error instanceof ContentIncomplete) || tries >= mostUploads) throw error;
        logger.warn({ why: error.message }, 'the server lacks something of the output; it is uploaded again');
        kept.log = await storeLog(context, run, held, signal);
      }
    }
  } catch (error) {
    if (error instanceof RunLost) throw error;
    const failure = failureOf(error, logger);
    if (failure.place !== undefined) health.fault(failure.place, failure.cause ?? failure);
    else health.success(job.repository);
    const { reason, fault } = failure;
    const message = run.log.masked(failure.message);
    const lost = { output: run.places.output, log: run.log, uuid: job.uuid };
    if (await sayUnstored(context.unstored, failure, lost)) kept.log = await storeLog(context, run, held, signal);
    const givenBack = failure instanceof GivenBack;
    const tasksSummary = await heart.tasks();
    const end = { ...held, reason, message, fault, givenBack, tasksSummary, ran };
    const part =
      kept.scriptEnded && fault === Fault.SCRIPT ? await storePart(context, job, run, held, signal) : undefined;
    const result = { ...told('output', part), ...told('log', kept.log) };
    await reportFailure(worker, { ...end, ...result }, signal).catch((error: unknown) => {
      if (!(error instanceof ContentIncomplete)) throw error;
      logger.warn({ why: error.message }, 'the log was lost on its way to the server');
      return reportFailure(worker, end, signal);
    });
    return { state: givenBack ? 'given back' : 'Failed', reason, message };
  }
}

/**
 * Runs the script while its log is copied and sent. Gives what is to be said of an empty output too, empty if nothing: it is a line of
 * the log then.
 * @throws RunLost, RunFailure
 */
async function runWithLogs(
  context: RunContext,
  claimed: ClaimedJob,
  prepared: PreparedRun,
  ran: RanSoFar,
  end: AbortController,
): Promise<{ readonly ended: Ran; readonly stray: string }> {
  const { job, claimToken } = claimed;
  const { places, log } = prepared;
  return withLiveLog(context, { uuid: job.uuid, claimToken }, places.log, end.signal, async () => {
    const speech = speaker(log, places, end);
    const bounds = context.bounds(job);
    const onCheckout = (checkout: PlacedCheckout) => {
      prepared.checkout = checkout;
    };
    const given = { places, output: log.fd, bounds, speech, hide: log.hide, onCheckout, ran };
    const run = () => runScript(claimed, given, context, end.signal);
    const limits = { ...context.limits, scratchMb: bounds.scratchMb };
    const ended = await withLog(log, context.logLimit, end, () => withinDisk(places, limits, end, run));
    if (end.signal.reason instanceof RunLost) throw end.signal.reason;
    const stray = log.masked(ended.code === 0 ? await strayFiles(places, ended.entries) : '');
    if (stray !== '') await log.say(`memoir: ${stray}`);
    return { ended, stray };
  });
}

/** Says in the log, and as the run's progress, what goes on before the script begins. */
function speaker(log: RunLog, { progress }: RunPlaces, end: AbortController): Speaker {
  let last = Promise.resolve();
  return {
    say(line) {
      last = last
        .then(() => log.say(`memoir: ${line}`))
        // A script that says how far it is puts its own in the place of it.
        .then(() => writeFile(progress, JSON.stringify({ message: line })))
        .catch((error: NodeJS.ErrnoException) => {
          end.abort(new PlaceFault(workPlace, `the log cannot be written (${error.code})`, error));
        });
    },
    async said() {
      await last;
      await rm(progress, { force: true });
    },
  };
}

/** Copies what a script prints while `work` goes on, and what is left of it after that. */
async function withLog<T>(log: RunLog, limit: number, end: AbortController, work: () => Promise<T>): Promise<T> {
  const exceeded = () =>
    end.abort(new RunFailure('LOG_TOO_LARGE', `the script wrote more than ${limit} bytes of output`));
  const copy = (finished: AbortSignal) =>
    log.copy(finished, limit, exceeded).catch((error: NodeJS.ErrnoException) => {
      end.abort(new PlaceFault(workPlace, `what the script prints cannot be kept (${error.code})`, error));
    });
  return beside(copy, work);
}

/** Ends a run that takes more of the disk than it may while `work` goes on. */
async function withinDisk<T>(
  places: RunPlaces,
  limits: DiskLimits,
  end: AbortController,
  work: () => Promise<T>,
): Promise<T> {
  const watch = (finished: AbortSignal) => watchDiskUse(places, limits, finished, (failure) => end.abort(failure));
  return beside(watch, work);
}

/** Sends the live log while `work` goes on, and what is left of it after that. Without it the run goes on all the same. */
async function withLiveLog<T>(
  { worker, logger }: RunContext,
  held: HeldLog,
  path: string,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T> {
  const send = (finished: AbortSignal) =>
    sendLiveLog(worker, held, path, finished, signal).catch((error: unknown) => {
      if (!signal.aborted) logger.warn({ err: error }, 'the live log ends here');
    });
  return beside(send, work);
}

/** Has `other`, which does not fail, go on while `work` does, and waits for it to end what it is at when that has ended. */
async function beside<T>(other: (finished: AbortSignal) => Promise<void>, work: () => Promise<T>): Promise<T> {
  const finished = new AbortController();
  const going = other(finished.signal);
  try {
    return await work();
  } finally {
    finished.abort();
    await going;
  }
}

/** What a script saw of its places elsewhere than where they are. */
function shownTo(job: Job, places: RunPlaces, sandbox: RunContext['sandbox']) {
  const paths = pathsOf(job, places, { sandbox });
  return (['tree', 'output', 'tmp', 'inputs'] as const).map((name) => [paths[name], places[name]] as const);
}

function storeOutput(
  { outputs, limits, workDirectory, sandbox }: RunContext,
  job: Job,
  { places }: PreparedRun,
  held: HeldRun,
  signal: AbortSignal,
) {
  const run = { run: places.directory, worker: workDirectory, shown: shownTo(job, places, sandbox) };
  const options = { limits: limits.output, run, signal };
  return storing(outputs, () => outputs.putDirectory(places.output, options, held));
}

/**
 * Stores what a script that failed had left in its output until then, as far as that is little and quickly done; without it the run fails all
 * the same. Undefined for nothing.
 */
async function storePart(
  { outputs, limits, workDirectory, sandbox, logger }: RunContext,
  job: Job,
  { places }: PreparedRun,
  held: HeldRun,
  signal: AbortSignal,
): Promise<Stored | undefined> {
  if (!outputs.keepsParts) return undefined;
  const late = AbortSignal.timeout(partMs);
  const { bytes, files } = limits.output;
  const options = {
    limits: { bytes: Math.min(bytes, mostOfPart), files },
    run: { run: places.directory, worker: workDirectory, shown: shownTo(job, places, sandbox) },
    // One that had to end has aborted already.
    signal: signal.aborted ? late : AbortSignal.any([signal, late]),
  };
  try {
    if ((await readdir(places.output)).length === 0) return undefined;
    return await outputs.putDirectory(places.output, options, held);
  } catch (error) {
    logger.warn({ why: (error as Error).message }, 'what the script had made until it failed is not kept');
    return undefined;
  }
}

/** Stores what the script printed. Once the run has to end that may take some seconds, and is then left. */
async function storeLog(
  { outputs, logger }: RunContext,
  { log }: PreparedRun,
  held: HeldRun,
  signal: AbortSignal,
): Promise<Stored | undefined> {
  const ending = signal.aborted;
  const until = ending ? AbortSignal.timeout(lastLogMs) : signal;
  try {
    return await storing(outputs, () => outputs.putLog(log.file, held, until));
  } catch (error) {
    if (!ending || !until.aborted) throw error;
    logger.warn({ err: error }, 'the log could not be stored in time');
    return undefined;
  }
}

/** What was stored as a report names it: by its digest where the server keeps it, else by its address. */
function told<Name extends 'output' | 'log'>(name: Name, stored: Stored | undefined) {
  if (!stored) return {};
  return stored.digest ? { [`${name}Digest`]: stored.digest } : { [name]: stored.address };
}

/** Stores something. @throws MemoirError if what is to be stored is at fault, PlaceFault if the store is */
async function storing<T>({ place }: Outputs, put: () => Promise<T>): Promise<T> {
  try {
    return await put();
  } catch (error) {
    const { code, syscall } = error as NodeJS.ErrnoException;
    if (syscall === undefined) throw error;
    throw new PlaceFault(place, `what the script made cannot be stored (${code})`, error);
  }
}

function failureOf(error: unknown, logger: Logger): RunFailure {
  if (error instanceof RunFailure) return error;
  if (error instanceof MemoirError) return new RunFailure(error.reason, error.message);
  // The server counts what the worker did not: directories.
  if (error instanceof CallError && error.reason === 'TREE_TOO_LARGE')
    return new RunFailure('OUTPUT_TOO_LARGE', error.message);
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (syscall !== undefined) return new PlaceFault(workPlace, `the run cannot be carried out (${code})`, error);
  logger.error({ err: error }, 'the worker failed');
  return new RunFailure('WORKER_FAILED', `the worker could not run the job: ${(error as Error).message}`, Fault.WORKER);
}
