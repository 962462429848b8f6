import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { MemoirError } from '../domain/errors.js';
import type { Edge } from '../edge.js';

/** Something that a worker's runs need to be well: a directory, a repository. */
export type Place = {
  readonly name: string;
  /** @throws Error saying what is wrong with it */
  probe(): Promise<void>;
  /** The repository whose jobs need it; undefined if all jobs do. */
  readonly repository?: string;
};

/** Which of a worker's places are well. */
export type Health = {
  /**
   * Probes the places that are due. Gives whether jobs can be run at all, and the repositories that cannot be used now.
   */
  check(): Promise<{ readonly well: boolean; readonly unwell: ReadonlySet<string> }>;
  /** Something suggests that a place may have broken just now: all are due to be probed. */
  doubt(): void;
  /** A job failed by the fault of a place: nothing is claimed that needs it, until some time has passed and it passes a probe. */
  fault(name: string, error: unknown): void;
  /** A job of a repository was run to its end: all that it needs is well. */
  success(repository: string): void;
  /** Waits until a place is due to be probed. */
  wait(signal: AbortSignal): Promise<void>;
};

/** Shortest and longest pause after a probe that failed, in milliseconds. */
const probePause = { first: 1_000, longest: 60_000 };

/**
 * The same after a job that failed: what a probe does not find can only be found by the next job, so others get the time to take it.
 */
const faultPause = { first: 10_000, longest: 300_000 };

/**
 * How long a repository, or another place, that was found well is not looked at again, in milliseconds: short jobs that follow each other
 * would wait longer for that than for all else. Whatever breaks meanwhile spoils one job, which tells.
 */
const trustedMs = { repository: 10_000, other: 1_000 };

type State = { readonly place: Place; well: boolean; pause: number; due: number };

/** The health of a worker. Places that get unwell, and well again, are told to its log. */
export function openHealth(
  places: readonly Place[],
  { edge, logger }: { readonly edge: Pick<Edge, 'monotonic'>; readonly logger: Logger },
): Health {
  const states = places.map((place): State => ({ place, well: true, pause: 0, due: 0 }));

  function unwell(state: State, error: unknown, { first, longest }: typeof probePause): void {
    state.well = false;
    state.pause = Math.min(Math.max(state.pause * 2, first), longest);
    state.due = edge.monotonic() + state.pause;
    const without = state.place.repository === undefined ? 'no job' : `no job of ${state.place.name}`;
    const again = Math.round(state.pause / 1_000);
    logger.error(
      { place: state.place.name, why: (error as Error).message, err: (error as Error).cause },
      `the ${state.place.name} is not well: ${without} is claimed; it is looked at again in ${again} s`,
    );
  }

  async function probe(state: State): Promise<void> {
    const now = edge.monotonic();
    if (now < state.due) return;
    try {
      await state.place.probe();
    } catch (error) {
      unwell(state, error, probePause);
      return;
    }
    state.due = now + (state.place.repository === undefined ? trustedMs.other : trustedMs.repository);
    if (state.well) return;
    state.well = true;
    logger.info({ place: state.place.name }, `the ${state.place.name} is well again: jobs are claimed`);
  }

  return {
    async check() {
      for (const state of states) await probe(state);
      const unwellStates = states.filter(({ well }) => !well);
      return {
        well: unwellStates.every(({ place }) => place.repository !== undefined),
        unwell: new Set(unwellStates.flatMap(({ place }) => place.repository ?? [])),
      };
    },
    doubt() {
      for (const state of states) if (state.well) state.due = 0;
    },
    fault(name, error) {
      const state = states.find(({ place }) => place.name === name);
      // What is no place of its own, as a repository that is taken from what is kept only, is as the places that all jobs need.
      for (const one of state ? [state] : states.filter(({ place }) => place.repository === undefined)) {
        unwell(one, error, faultPause);
      }
    },
    success(repository) {
      for (const state of states) {
        if (state.place.repository === undefined || state.place.repository === repository) state.pause = 0;
      }
    },
    async wait(signal) {
      const due = Math.min(...states.filter(({ well }) => !well).map((state) => state.due));
      const ms = Math.max(due - edge.monotonic(), 0);
      await sleep(Number.isFinite(ms) ? ms : 0, undefined, { signal }).catch(() => {});
    },
  };
}

/** The error for a worker whose places do not let it run a job. */
export function unwellWorker(): MemoirError {
  return new MemoirError('FAILED_PRECONDITION', 'PLACE_FAULT', 'the places of the worker are not well; see its log');
}
