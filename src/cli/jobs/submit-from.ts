import { setTimeout as delay } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import {
  type CreateJobRequest,
  type CreateJobsResult,
  CreateJobsResultSchema,
} from '../../../gen/memoir/jobs/v1/jobs_service_pb.js';
import { CallError } from '../../rpc/call-error.js';
import type { Clients } from '../client.js';
import { exitCodeOfOne, requestReasons } from '../exit-code.js';
import { note, printLine, protoJson } from '../text/output.js';
import { printable } from '../text/printable.js';
import { progressLine } from '../text/progress-line.js';
import { stateText, styled } from '../text/style.js';
import type { RequestLine } from './request-lines.js';

/** Most requests that are sent at once, and most bytes of their parameters and texts: far below what a server takes. */
const mostAtOnce = { requests: 100, bytes: 1024 * 1024 };

/** Calls under way at the same time: while one is answered the next is on its way. */
const callsAtOnce = 2;

/** How often what a server could not take at a moment is tried, and how long is waited before the second time, in milliseconds. */
const patience = { tries: 6, firstDelay: 500 };

/** Codes that another try may not end with. */
const passing: readonly status[] = [
  status.UNAVAILABLE,
  status.ABORTED,
  status.DEADLINE_EXCEEDED,
  status.RESOURCE_EXHAUSTED,
];

/** How many requests came to what. */
type Counts = { done: number; made: number; reused: number; failed: number };

type Options = {
  /** Begins the submit_id of each request that has none, with its line behind it. */
  readonly batch: string;
  readonly json?: boolean | undefined;
};

/**
 * Sends the requests of a file and prints what became of each, in their order. What failed is listed on standard error, and the exit
 * code is that of the first. Nothing is recorded twice, however often a request is sent, as each has a submit_id.
 */
export async function submitFrom(clients: Clients, lines: readonly RequestLine[], options: Options): Promise<void> {
  const counts: Counts = { done: 0, made: 0, reused: 0, failed: 0 };
  const all = lines.length.toLocaleString('en');
  const shown = await progressLine(`0 of ${all}`, Date.now);
  const again = `to go on with those that are not recorded, give the same requests with --batch ${options.batch}`;
  const onInterrupt = () => {
    shown.stop();
    note(`interrupted after ${counts.done} of ${all}; ${again}`);
    process.exit(130);
  };
  process.once('SIGINT', onInterrupt);
  try {
    const chunks = chunksOf(lines);
    const underWay: {
      readonly chunk: readonly RequestLine[];
      readonly answered: Promise<readonly CreateJobsResult[]>;
    }[] = [];
    for (let next = 0; ; ) {
      for (; underWay.length < callsAtOnce && next < chunks.length; next++) {
        const chunk = chunks[next] as readonly RequestLine[];
        const answered = answersTo(clients, chunk, options.batch);
        // Whoever comes to it later is told.
        answered.catch(() => undefined);
        underWay.push({ chunk, answered });
      }
      const first = underWay.shift();
      if (!first) break;
      const results = await first.answered;
      shown.clear();
      for (const [i, { number }] of first.chunk.entries()) {
        await tell(number, results[i] as CreateJobsResult, counts, options);
      }
      shown.set(`${counts.done.toLocaleString('en')} of ${all}${counts.failed > 0 ? `, ${counts.failed} failed` : ''}`);
    }
  } catch (error) {
    shown.stop();
    note(`${counts.done} of ${all} were answered; ${again}`);
    throw error;
  } finally {
    process.off('SIGINT', onInterrupt);
    shown.stop();
  }
  const { made, reused, failed } = counts;
  note(
    `${all} requests: ${made.toLocaleString('en')} new, ${reused.toLocaleString('en')} reused, ${failed.toLocaleString('en')} failed`,
  );
  if (failed > 0) note(again);
}

function chunksOf(lines: readonly RequestLine[]): readonly (readonly RequestLine[])[] {
  const chunks: RequestLine[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const line of lines) {
    if (bytes + line.bytes > mostAtOnce.bytes || chunks.at(-1)?.length === mostAtOnce.requests) {
      chunks.push([]);
      bytes = 0;
    }
    chunks.at(-1)?.push(line);
    bytes += line.bytes;
  }
  return chunks;
}

/** What became of each request, those that a server could not take at a moment tried again. @throws CallError of a call that failed as a whole */
async function answersTo(
  clients: Clients,
  chunk: readonly RequestLine[],
  batch: string,
): Promise<readonly CreateJobsResult[]> {
  const requests = chunk.map(({ number, request }) => ({
    ...request,
    submitId: request.submitId || `${batch}/${number}`,
  }));
  const results = new Map<number, CreateJobsResult>();
  for (let tried = 1; ; tried++) {
    const left = requests.map((_, i) => i).filter((i) => isPassing(results.get(i)));
    const last = tried === patience.tries;
    try {
      const sent = left.map((i) => requests[i] as CreateJobRequest);
      const answer = await clients.jobs.createJobs({ requests: sent }, clients.unary);
      for (const [k, i] of left.entries()) results.set(i, answer.results[k] as CreateJobsResult);
    } catch (error) {
      if (!(error instanceof CallError)) throw error;
      const { code, message, reason } = error;
      // A request that is alone, since it is large, may be too large.
      if (requests.length === 1 && requestReasons.includes(reason)) {
        return [create(CreateJobsResultSchema, { error: { code, message, reason } })];
      }
      if (last || !passing.includes(code) || requestReasons.includes(reason)) throw error;
    }
    const all = requests.map((_, i) => results.get(i));
    if (last || !all.some(isPassing)) return all as CreateJobsResult[];
    await delay(patience.firstDelay * 2 ** (tried - 1));
  }
}

/** Whether a request has no answer yet, or one that another try may change. */
function isPassing(result: CreateJobsResult | undefined): boolean {
  return result === undefined || (result.error !== undefined && passing.includes(result.error.code));
}

async function tell(line: number, result: CreateJobsResult, counts: Counts, { json }: Options): Promise<void> {
  const { job, reused, error } = result;
  counts.done += 1;
  if (error) {
    counts.failed += 1;
    if (counts.failed === 1) process.exitCode = exitCodeOfOne(error);
    if (!json) note(`line ${line}: ${printable(error.message)}`);
  } else if (reused) counts.reused += 1;
  else counts.made += 1;
  if (json) await printLine(protoJson(CreateJobsResultSchema, result).replace('{', `{"line":${line},`));
  else if (job) {
    const kind = reused ? styled('green', 'reused') : styled('yellow', 'new');
    await printLine(`line ${line}: ${kind} ${printable(job.uuid)} ${stateText(job.state)}`);
  }
}
