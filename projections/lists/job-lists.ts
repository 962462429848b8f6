import { MemoirError } from '../../src/domain/errors.js';
import type { PastFiles } from '../history/as-of.js';
import type { CandidatesQuery, FilteredCandidates } from './candidates-by-filters.js';
import type { Values, ValuesQuery } from './distinct-values.js';
import { Dropped, FileTrouble, LaneFull, openListLane, TookTooLong } from './list-lane.js';
import type { ListAnswers, ListQuestion } from './list-protocol.js';
import type { ListPage, ListQuery } from './list-query.js';
import { narrowing } from './narrowing.js';

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

  async function ask<K extends ListQuestion['kind']>(
    question: Extract<ListQuestion, { kind: K }>,
    caller: string,
    signal?: AbortSignal,
  ): Promise<ListAnswers[K]> {
    const once = () => {
      if (!ready()) return Promise.reject(new FileTrouble('it is being made anew'));
      return short.ask<K>(question, caller, signal).catch((error: unknown) => {
        if (error instanceof TookTooLong && timeLimit > shortTime) return long.ask<K>(question, caller, signal);
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
      if (error instanceof TookTooLong) throw tooLong(question, timeLimit, error);
      if (error instanceof LaneFull) {
        throw new MemoirError(
          'RESOURCE_EXHAUSTED',
          'TOO_MANY_LISTS',
          `too many lists at once, ${error.message}; try again later, or narrow this one`,
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
    list: (query, caller, signal) => ask<'list'>({ kind: 'list', query }, caller, signal),
    candidates: (query, caller) => ask<'candidates'>({ kind: 'candidates', query }, caller),
    values: (query, caller) => ask<'values'>({ kind: 'values', query }, caller),
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
function dropped({ cause, message }: Dropped): MemoirError {
  return cause instanceof MemoirError ? cause : new MemoirError('UNAVAILABLE', 'CALL_ENDED', message);
}

function tooLong(question: ListQuestion, timeLimit: number, { message }: Error): MemoirError {
  const limit = `${timeLimit / 1_000} s`;
  const what = message.includes('match') ? message : `it would take longer than the ${limit} that the server allows`;
  return new MemoirError('RESOURCE_EXHAUSTED', 'LIST_TOO_LONG', `${what}: ${narrowing(question)}`);
}
