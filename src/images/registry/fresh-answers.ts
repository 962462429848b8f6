import { LRUCache } from 'lru-cache';

/** How a question is asked: by a key that says all of it. Fails if there is no answer. */
export type Ask<T> = (key: string) => Promise<T>;

/** How long answers and failures are kept, in milliseconds. */
export type Ages = { readonly answers: number; readonly failures: number };

/** How many answers are kept. */
const kept = 10_000;

type Outcome<T> = { readonly answer: Promise<T>; readonly until: number };
type Flight<T> = { readonly answer: Promise<T>; next?: Promise<T> };

/**
 * Asks such that no answer is older than its call, or than it may be, and yet the same is asked only once at a time: those who come
 * while it is being asked all share the next time. A failure is kept, so that not everyone waits for what does not answer.
 * @param now time in milliseconds that never goes back
 */
export function freshAnswers<T>(ask: Ask<T>, ages: Ages, now: () => number): Ask<T> {
  const outcomes = new LRUCache<string, Outcome<T>>({ maxSize: kept, sizeCalculation: () => 1 });
  const flights = new Map<string, Flight<T>>();

  function recalled(key: string): Promise<T> | undefined {
    const outcome = outcomes.get(key);
    return outcome && now() < outcome.until ? outcome.answer : undefined;
  }

  function fly(key: string): Promise<T> {
    const began = now();
    const answer = ask(key);
    const flight: Flight<T> = { answer };
    flights.set(key, flight);
    const landed = (until: number) => {
      outcomes.set(key, { answer, until });
      if (flights.get(key) === flight) flights.delete(key);
    };
    answer.then(
      () => landed(began + ages.answers),
      () => landed(now() + ages.failures),
    );
    return answer;
  }

  return (key) => {
    const known = recalled(key);
    if (known) return known;
    const flight = flights.get(key);
    if (!flight) return fly(key);
    const again = () => recalled(key) ?? fly(key);
    flight.next ??= flight.answer.then(again, again);
    return flight.next;
  };
}
