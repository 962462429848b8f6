import { MemoirError } from '../../src/domain/errors.js';
import type { PastFiles } from '../history/as-of.js';
import type { CandidatesQuery, FilteredCandidates } from './candidates-by-filters.js';
import type { Values, ValuesQuery } from './distinct-values.js';
import { Dropped, LaneFull, openListLane, TookTooLong } from './list-lane.js';
import type { ListAnswers, ListQuestion } from './list-protocol.js';
import type { ListPage, ListQuery } from './list-query.js';
import { narrowing } from './narrowing.js';

/** How long a question may take in the lane where all begin, in milliseconds. */
const shortTime = 50;

/** Most questions that wait in each lane. */
const waitingShort = 2_000;
const waitingLong = 32;

/** Reads of the read model that may take long. They run in threads of their own, within a limit. */
export type JobLists = {
  /**
   * A page of jobs.
   * @throws MemoirError RESOURCE_EXHAUSTED LIST_TOO_LONG telling what to narrow, or TOO_MANY_LISTS; all of these may. UNAVAILABLE
   * if the signal aborts first
   */
  list(query: ListQuery, signal?: AbortSignal): Promise<ListPage>;
  /** The candidates of a request with filters. */
  candidates(query: CandidatesQuery): Promise<FilteredCandidates>;
  /** The different values of a field. */
  values(query: ValuesQuery): Promise<Values>;
  close(): Promise<void>;
};

/**
 * Opens the lists over the files of the projections, each limited to a number of milliseconds. There are two lanes, the simplest of
 * multilevel feedback queues (Corbató 1962): every question begins in a lane where it may take 50 ms, and only one that does not
 * end in that goes on to the lane for long ones. So what is quick never waits for what is not.
 */
export function openJobLists(files: PastFiles, timeLimit: number): JobLists {
  const short = openListLane(files, { time: Math.min(shortTime, timeLimit), waiting: waitingShort });
  const long = openListLane(files, { time: timeLimit, waiting: waitingLong });

  async function ask<K extends ListQuestion['kind']>(
    question: Extract<ListQuestion, { kind: K }>,
    signal?: AbortSignal,
  ): Promise<ListAnswers[K]> {
    try {
      return await short.ask<K>(question, signal).catch((error: unknown) => {
        if (error instanceof TookTooLong && timeLimit > shortTime) return long.ask<K>(question, signal);
        throw error;
      });
    } catch (error) {
      if (error instanceof TookTooLong) throw tooLong(question, timeLimit, error);
      if (error instanceof LaneFull) {
        throw new MemoirError(
          'RESOURCE_EXHAUSTED',
          'TOO_MANY_LISTS',
          `too many lists at once, ${error.message}; try again later, or narrow this one`,
        );
      }
      if (error instanceof Dropped) throw dropped(error);
      throw error;
    }
  }

  return {
    list: (query, signal) => ask<'list'>({ kind: 'list', query }, signal),
    candidates: (query) => ask<'candidates'>({ kind: 'candidates', query }),
    values: (query) => ask<'values'>({ kind: 'values', query }),
    async close() {
      await Promise.all([short.close(), long.close()]);
    },
  };
}

/** What the server aborts its calls with is meant for the caller; of another reason there is no caller left to tell. */
function dropped({ cause, message }: Dropped): MemoirError {
  return cause instanceof MemoirError ? cause : new MemoirError('UNAVAILABLE', 'CALL_ENDED', message);
}

function tooLong(question: ListQuestion, timeLimit: number, { message }: Error): MemoirError {
  const limit = `${timeLimit / 1_000} s`;
  const what = message.includes('match') ? message : `it would take longer than the ${limit} that the server allows`;
  return new MemoirError('RESOURCE_EXHAUSTED', 'LIST_TOO_LONG', `${what}: ${narrowing(question)}`);
}
