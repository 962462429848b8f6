/** Length of the log at a moment: what was recorded before has a smaller place. */
export type Place = number;

import { setTimeout as delay } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { CallError } from '../../../src/rpc/call-error.js';

/** What people were told of a job, and when. */
export type Told =
  /** A client that it waits for the job, from the answer until it began to withdraw; Infinity if it never did. */
  | { readonly kind: 'waits'; readonly who: string; readonly uuid: string; readonly from: Place; until: Place }
  /** A client that this is the job, where another had been before. */
  | {
      readonly kind: 'instead';
      readonly who: string;
      readonly uuid: string;
      readonly before: string;
      readonly at: Place;
    }
  /** A worker that its claim has the job. The token names the attempt. */
  | { readonly kind: 'runs'; readonly token: string; readonly uuid: string; readonly at: Place }
  /** A worker that its report of the attempt was taken. */
  | {
      readonly kind: 'heard';
      readonly token: string;
      readonly uuid: string;
      readonly of: 'heartbeat' | 'completion' | 'failure' | 'give_back';
      readonly from: Place;
      readonly to: Place;
      readonly output: string;
    };

/** What was told, all of it. */
export type Telling = { readonly told: Told[]; now(): Place };

/** The next number of a generator from 0 to below 1. */
export type Random = () => number;

/** A generator of numbers that a seed tells: mulberry32, by Tommy Ettinger. */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** One of several. */
export function oneOf<T>(random: Random, all: readonly T[]): T {
  return all[Math.floor(random() * all.length)] as T;
}

/** Codes after which nobody knows whether a call was carried out. */
const unknown: readonly status[] = [status.UNAVAILABLE, status.ABORTED, status.DEADLINE_EXCEEDED];

/** Makes a call again and again until it is answered, or refused. */
export async function answered<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof CallError) || !unknown.includes(error.code)) throw error;
      await delay(20);
    }
  }
}
