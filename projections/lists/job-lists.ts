import { MemoirError } from '../../src/domain/errors.js';
import type { PastFiles } from '../history/as-of.js';
import type { CandidatesQuery, FilteredCandidates } from './candidates-by-filters.js';
import type { Values, ValuesQuery } from './distinct-values.js';
import { Dropped, FileTrouble, LaneFull, Overdue } from './list-failures.js';
import { openListLane, type Question } from './list-lane.js';
import type { ListPage, ListQuery } from './list-query.js';
import { narrowingOf, narrowingOfCandidates, narrowingOfValues } from './narrowing.js';

/** How long a question may take in the lane where all begin, in milliseconds. */
const shortTime = 50;

/** Most questions that wait in each lane, in all and of one caller. */
const waitingShort = { waiting: 2_000, waitingOfOne: 1_000 };
const waitingLong = { waiting: 128, waitingOfOne: 32 };

/** Reads of the read model that may take long. They run in threads of their own, within a limit; callers have turns. */
export type JobLists = {
  /**
   * A page of jobs.
   * @throws MemoirError RESOURCE_EXHAUSTED LIST_TOO_LONG telling what to narrow, or TOO_MANY_LISTS; all of these may. UNAVAILABLE
   * if the signal aborts first, or READ_MODEL_UNAVAILABLE if the files cannot be read
   */
  list(query: ListQuery, caller: string, signal?: AbortSignal): Promise<ListPage>;
  /** The candidates of a request with filters. */
  candidates(query: CandidatesQuery, caller: string): Promise<FilteredCandidates>;
  /** The different values of a field. */
  values(query: ValuesQuery, caller: string): Promise<Values>;
  /** Has the files opened again, which were made anew. */
  renew(): void;
  close(): Promise<void>;
};

/**
 * Opens the lists over the files of the projections, each limited to a number of milliseconds. There are two lanes, the simplest of
 * multilevel feedback queues (Corbató 1962): every question begins in a lane where it may take 50 ms, and only one that does not
 * end in that goes on to the lane for long ones. So what is quick never waits for what is not. Nothing is answered unless `ready`: a read
 * model that is made anew would tell half.
 */
export function openJobLists(files: PastFiles, timeLimit: number, ready: () => boolean = () => true): JobLists {
  const short = openListLane(files, { time: Math.min(shortTime, timeLimit), ...waitingShort });
  const long = openListLane(files, { time: timeLimit, ...waitingLong });

  /** `narrowing` is what a client can do so that the question takes less time. */
  async function ask<Answer>(
    question: Question<Answer>,
    narrowing: () => string,
    caller: string,
    signal?: AbortSignal,
  ): Promise<Answer> {
    const once = () => {
      if (!ready()) return Promise.reject(new FileTrouble('it is being made anew'));
      return short.ask(question, caller, signal).catch((error: unknown) => {
        if (error instanceof Overdue && timeLimit > shortTime) return long.ask(question, caller, signal);
        throw error;
      });
    };
    try {
      // A second time where only the history was made anew meanwhile.
      return await once().catch((error: unknown) => {
        if (error instanceof FileTrouble) return once();
        throw error;
      });
    } catch (error) {
      if (error instanceof Overdue) throw tooLong(narrowing(), timeLimit, error);
      if (error instanceof LaneFull) {
        throw new MemoirError(
          'RESOURCE_EXHAUSTED',
          'TOO_MANY_LISTS',
          `too many lists at once, ${error.message}; try again later, or narrow this one`,
          { cause: error },
        );
      }
      if (error instanceof Dropped) throw dropped(error);
      if (error instanceof FileTrouble) {
        const message = `the read model cannot be read now: ${error.message}; if it is damaged, it is made anew; try again`;
        throw new MemoirError('UNAVAILABLE', 'READ_MODEL_UNAVAILABLE', message, { cause: error });
      }
      throw error;
    }
  }

  return {
    list: (query, caller, signal) =>
      ask(
        (call, turn) => call.list({ ...turn, query }),
        () => narrowingOf(query),
        caller,
        signal,
      ),
    candidates: (query, caller) =>
      ask(
        (call, turn) => call.candidates({ ...turn, query }),
        () => narrowingOfCandidates,
        caller,
      ),
    values: (query, caller) =>
      ask(
        (call, turn) => call.values({ ...turn, query }),
        () => narrowingOfValues,
        caller,
      ),
    renew() {
      short.renew();
      long.renew();
    },
    async close() {
      await Promise.all([short.close(), long.close()]);
    },
  };
}

/** What the server aborts its calls with is meant for the caller; of another reason there is no caller left to tell. */
function dropped(error: Dropped): MemoirError {
  if (error.cause instanceof MemoirError) return error.cause;
  return new MemoirError('UNAVAILABLE', 'CALL_ENDED', error.message, { cause: error });
}

function tooLong(narrowing: string, timeLimit: number, error: Overdue): MemoirError {
  const limit = `${timeLimit / 1_000} s`;
  const what = error.message.includes('match')
    ? error.message
    : `it would take longer than the ${limit} that the server allows`;
  return new MemoirError('RESOURCE_EXHAUSTED', 'LIST_TOO_LONG', `${what}: ${narrowing}`, { cause: error });
}
