import { colourful } from './output.js';

/** A line on standard error that changes, for people. */
export type ProgressLine = {
  set(text: string): void;
  /** Takes the line away until it is set again, so that something else can be written. */
  clear(): void;
  /** Takes the line away. */
  stop(): void;
};

/** Milliseconds between two changes. */
const interval = 100;

/** Starts a line where standard error is a terminal; elsewhere it shows nothing. */
export async function progressLine(text: string, now: () => number): Promise<ProgressLine> {
  // ora counts lines without end on a terminal that says it has no columns, as those of some containers do.
  if (!process.stderr.isTTY || process.stderr.columns === 0)
    return { set: () => undefined, clear: () => undefined, stop: () => undefined };
  const { default: ora } = await import('ora');
  const spinner = ora({ stream: process.stderr, text, color: colourful(process.stderr) ? 'cyan' : false }).start();
  let changed = now();
  return {
    set(next) {
      if (now() - changed < interval) return;
      changed = now();
      spinner.text = next;
      // What runs is busy, and gives the timer of the spinner no turn.
      spinner.render();
    },
    clear: () => void spinner.clear(),
    stop: () => void spinner.stop(),
  };
}

/** A number of events in words. */
export function eventCount(events: number): string {
  return `${events.toLocaleString('en')} event${events === 1 ? '' : 's'}`;
}
