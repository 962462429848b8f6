import type { ServerHttp2Stream } from 'node:http2';
import type { Link } from './link.js';

/** When calls are begun: at once, or when those of other connections have had their turn. */
export type Turns = {
  /** Whether a call of a connection may begin at once, which it is then taken to do. */
  mayBegin(link: Link): boolean;
  /** Begins a call that may not when it is its turn, unless it has ended by then. */
  wait(link: Link, stream: ServerHttp2Stream, begin: () => void): void;
};

/** After how many calls of a connection the event loop is asked to say when its turn ends, which has its price. */
const seldom = 8;

const ignore = () => {};

/**
 * Has connections take turns: of each, about so many calls at most are begun in one turn of the event loop, and of all that wait so many together. A client may
 * send thousands of calls in one piece, which would otherwise all be begun before anything else is looked at.
 */
export function takingTurns(most: number): Turns {
  /** Those with calls that wait, in the order of their turns. */
  let queue: Link[] = [];
  // Connections begin with turn 0.
  let turn = 1;
  let ticking = false;

  function tick(): void {
    if (ticking) return;
    ticking = true;
    setImmediate(nextTurn);
  }

  function nextTurn(): void {
    ticking = false;
    turn += 1;
    for (let left = most; left > 0 && queue.length > 0; ) {
      const again: Link[] = [];
      for (const link of queue) {
        if (left > 0 && beginNext(link)) left -= 1;
        if (link.waiting.length > 0) again.push(link);
      }
      queue = again;
    }
    if (queue.length > 0) {
      // Whoever was first in this turn is last in the next one.
      queue.push(...queue.splice(0, 1));
      tick();
    }
  }

  /** Begins the next call that is still wanted. @returns whether there was one */
  function beginNext(link: Link): boolean {
    // What comes of it in this turn waits behind the others.
    link.turn = turn;
    link.begun = most;
    for (;;) {
      const next = link.waiting.shift();
      if (!next) return false;
      const { stream, begin } = next;
      if (stream.destroyed || stream.closed) continue;
      stream.off('error', ignore);
      begin();
      return true;
    }
  }

  return {
    mayBegin(link) {
      if (link.turn !== turn) {
        link.turn = turn;
        link.begun = 0;
      }
      if (link.begun >= most || link.waiting.length > 0) return false;
      link.begun += 1;
      if (link.begun % seldom === 0) tick();
      return true;
    },
    wait(link, stream, begin) {
      // Nobody else listens yet, and an error that nobody hears of ends the process.
      stream.on('error', ignore);
      if (link.waiting.length === 0) queue.push(link);
      link.waiting.push({ stream, begin });
      tick();
    },
  };
}
