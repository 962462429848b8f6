/** Claims that wait for jobs. A job that can be had wakes one of them, and none is forgotten. */
export type WaitingClaims<Job> = {
  /**
   * Adds a claim that is about to look for a job. Claims with one `kind` are given the same jobs, those for which `fits`, but for what
   * `suits` says of the worker of this one.
   */
  enter(kind: string, fits: (job: Job) => boolean, suits?: (job: Job) => Suits): Waiting;
  /** Jobs can be had that could not be: each wakes the claim that fits and has waited longest. */
  available(jobs: readonly Job[]): void;
  /** Any number of jobs can be had: all claims wake. */
  availableToAll(): void;
  /** Whether a claim sleeps. */
  anyAsleep(): boolean;
};

/** Whether a worker is to be given a job that fits it: it is, it is if no other is, or it is not. */
export type Suits = 'well' | 'else' | 'no';

/** A claim that looks for a job, and waits in between. */
export type Waiting = {
  /**
   * Waits until a job can be had that may not have been seen since the claim began to look the last time, at most for `timeoutMs`
   * milliseconds, or until the signal aborts. Never rejects.
   */
  sleep(signal: AbortSignal, timeoutMs: number): Promise<void>;
  /** The claim is about to take a job, which is not available any more: what else it was woken for is another's. */
  takes(): void;
  /** The claim has ended: what it was woken for is another's. */
  leave(): void;
};

/** A job that woke a claim, and which claims it woke before. */
type Hint<Job> = { readonly job: Job; readonly tried: Set<Entry<Job>> };

type Entry<Job> = {
  readonly kind: string;
  readonly fits: (job: Job) => boolean;
  readonly suits: (job: Job) => Suits;
  /** What it was woken for since it slept. */
  hints: Hint<Job>[];
  /** Count of the changes when it began to look. */
  seen: number;
  /** Place among those that sleep. */
  turn: number;
  rise: (() => void) | undefined;
};

/**
 * Claims that wait. `isAvailable` tells whether a job can still be had. What makes it complete: a claim that looks while something
 * changes looks again before it sleeps, one that was woken for a job and takes another or none passes the job on to one that was not
 * woken for it yet, and whoever could not take a job after all says that it can be had again.
 */
export function waitingClaims<Job>(isAvailable: (job: Job) => boolean): WaitingClaims<Job> {
  // Those that sleep, by their kinds, the longest asleep first.
  const asleep = new Map<string, Set<Entry<Job>>>();
  let changes = 0;
  let turns = 0;

  function lie(entry: Entry<Job>): void {
    entry.turn = ++turns;
    const those = asleep.get(entry.kind) ?? new Set();
    asleep.set(entry.kind, those.add(entry));
  }

  function get(entry: Entry<Job>): void {
    const those = asleep.get(entry.kind);
    if (!those?.delete(entry)) return;
    if (those.size === 0) asleep.delete(entry.kind);
  }

  /** Wakes the longest asleep that fits, was not woken for the job yet, and is suited well by it, or else one that it suits else. */
  function hand(hint: Hint<Job>): void {
    const { job, tried } = hint;
    let well: Entry<Job> | undefined;
    let other: Entry<Job> | undefined;
    for (const those of asleep.values()) {
      let fits: boolean | undefined;
      for (const entry of those) {
        if (tried.has(entry)) continue;
        // The others of its kind sleep for a shorter time.
        if (well && entry.turn > well.turn) break;
        fits ??= entry.fits(job);
        if (!fits) break;
        const how = entry.suits(job);
        if (how === 'well') {
          well = entry;
          break;
        }
        if (how === 'else' && (!other || entry.turn < other.turn)) other = entry;
      }
    }
    const longest = well ?? other;
    if (!longest) return;
    get(longest);
    longest.hints.push(hint);
    longest.rise?.();
  }

  /** Passes on what a claim was woken for and did not take. */
  function passOn(entry: Entry<Job>): void {
    const { hints } = entry;
    entry.hints = [];
    for (const hint of hints) {
      hint.tried.add(entry);
      if (isAvailable(hint.job)) hand(hint);
    }
  }

  return {
    enter(kind, fits, suits = () => 'well') {
      const entry: Entry<Job> = { kind, fits, suits, hints: [], seen: changes, turn: 0, rise: undefined };
      return {
        async sleep(signal, timeoutMs) {
          passOn(entry);
          if (entry.seen === changes && !signal.aborted) {
            lie(entry);
            await new Promise<void>((resolve) => {
              const done = () => {
                clearTimeout(timer);
                signal.removeEventListener('abort', done);
                resolve();
              };
              const timer = setTimeout(done, timeoutMs);
              signal.addEventListener('abort', done);
              entry.rise = done;
            });
            entry.rise = undefined;
            get(entry);
          }
          entry.seen = changes;
        },
        takes: () => passOn(entry),
        leave() {
          get(entry);
          passOn(entry);
        },
      };
    },
    available(jobs) {
      changes++;
      for (const job of jobs) hand({ job, tried: new Set() });
    },
    availableToAll() {
      changes++;
      const all = [...asleep.values()].flatMap((those) => [...those]);
      asleep.clear();
      for (const entry of all) entry.rise?.();
    },
    anyAsleep: () => asleep.size > 0,
  };
}
