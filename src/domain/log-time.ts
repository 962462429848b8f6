/** How many events after an event tell whether its recorded time can be right. */
export const witnesses = 512;

/**
 * When the log came to each of its events, by the times that were recorded with them, of which some may be wrong. This time never goes
 * back. It is the recorded one wherever clocks only went forwards, and up to 256 wrong times in a row bend it for nobody but themselves.
 *
 * - A recorded time is believed unless it is later than the median of those of the 512 events after it (a running median, Tukey 1977,
 *   of which only one side is known to be later), or later than `now`, since no event can have been recorded then.
 * - The time of an event is the latest believed one up to it; before the first believed one, that, or the least number if that is not
 *   among those that are asked for.
 *
 * `recorded` is a section of the log that ends with its last event, or 512 after the last one that is asked for: the first `count`.
 * `floor` is the time of the event before the section. Times are in milliseconds since 1970-01-01T00:00Z.
 */
export function steadyTimes(
  recorded: readonly number[],
  count: number,
  floor: number = Number.MIN_SAFE_INTEGER,
  now: number = Number.MAX_SAFE_INTEGER,
): number[] {
  const median = slidingMedian(recorded);
  const times: number[] = [];
  let latest = floor;
  for (let i = 0; i < count; i++) {
    const time = recorded[i] as number;
    const later = median(i + 1, Math.min(i + 1 + witnesses, recorded.length));
    if (time > latest && time <= now && (later === undefined || time <= later)) latest = time;
    times.push(latest);
  }
  const first = times.find((time) => time > Number.MIN_SAFE_INTEGER);
  return floor > Number.MIN_SAFE_INTEGER || first === undefined ? times : times.map((time) => Math.max(time, first));
}

/**
 * Gives the medians, of two the later one, of sections of numbers from `start` to before `end`, neither of which may go back; undefined
 * for none.
 */
function slidingMedian(numbers: readonly number[]): (start: number, end: number) => number | undefined {
  const sorted: number[] = [];
  let [from, to] = [0, 0];
  return (start, end) => {
    for (; to < end; to++) sorted.splice(placeOf(sorted, numbers[to] as number), 0, numbers[to] as number);
    for (; from < start; from++) sorted.splice(placeOf(sorted, numbers[from] as number), 1);
    return sorted[sorted.length >> 1];
  };
}

/** Where a number stands, or would, among sorted ones. */
function placeOf(sorted: readonly number[], number: number): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] as number) < number) low = middle + 1;
    else high = middle;
  }
  return low;
}
