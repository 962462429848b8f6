/** Greatest weight of an owner; the least is 1. */
export const heaviest = 1_000;

/**
 * How far the turns of one job and the next are apart of an owner whose weight is 1. All numbers up to 16 divide it, so that turns are exact for
 * such weights; what is rounded otherwise is less than a 700th. Turns are whole numbers: 2^53 of these are 12 thousand million jobs.
 */
const apart = 720_720;

/**
 * The turn of a job that is queued now, by self-clocked fair queueing (S. J. Golestani, "A self-clocked fair queueing scheme for broadband
 * applications", INFOCOM 1994): one step behind the last turn of its owner, or behind `served`, the turn of what was given out last, if that is
 * further. So owners take turns by their weights while they have jobs queued, and nobody saves turns up by having none. A job without
 * a weight, of a log that has no turns, stands where the turns are, and all such jobs in the order of their numbers.
 */
export function nextTurn(served: number, last: number, weight: number): number {
  const within = Math.min(Math.max(weight, 1), heaviest);
  return Math.max(served, last) + Math.round(apart / within);
}
