import { setTimeout as delay } from 'node:timers/promises';

/**
 * Asks again and again until the answer is there. For what nothing announces.
 * @throws Error naming `what` after 30 s
 */
export async function until<T>(what: string, ask: () => Promise<T | undefined | false> | T | undefined | false) {
  const end = performance.now() + 30_000;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined && answer !== false) return answer;
    if (performance.now() > end) throw new Error(`${what} did not come about in 30 s`);
    await delay(10);
  }
}
