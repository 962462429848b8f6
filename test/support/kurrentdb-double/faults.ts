/** What a call can meet. */
export type Fault =
  /** The work is done, then every connection is dropped. */
  | { readonly kind: 'lose_answer' }
  /** The work is done and never answered. */
  | { readonly kind: 'no_answer' }
  /** The work is done and answered after so many milliseconds. */
  | { readonly kind: 'late'; readonly ms: number }
  /** The work is done and answered once this is over. */
  | { readonly kind: 'held'; readonly until: Promise<unknown> }
  /** The answer is that there was no time, as without a majority; the work shows only later. */
  | { readonly kind: 'unseen'; readonly shown: Promise<unknown> }
  /** Every connection is dropped before the work. */
  | { readonly kind: 'drop' }
  /** The server is too busy. */
  | { readonly kind: 'busy' }
  /** The work is not done; the answer is that the stream is elsewhere. */
  | { readonly kind: 'wrong_version' }
  /** The node is not the leader, and says who is. */
  | { readonly kind: 'not_leader' };

/** Calls that can meet a fault. */
export type FaultyCall = 'append' | 'read' | 'subscribe';

/** Faults that wait for their calls. */
export type Faults = {
  /** Lets the next calls of a kind meet these faults, one each; `undefined` lets a call through. */
  inject(call: FaultyCall, ...faults: (Fault | undefined)[]): void;
  /** The fault that this call meets. */
  next(call: FaultyCall): Fault | undefined;
  /** Faults that no call has met yet. */
  left(): number;
};

/** No faults yet. */
export function faults(): Faults {
  const waiting: Record<FaultyCall, (Fault | undefined)[]> = { append: [], read: [], subscribe: [] };
  return {
    inject(call, ...those) {
      waiting[call].push(...those);
    },
    next: (call) => waiting[call].shift(),
    left: () => Object.values(waiting).reduce((sum, those) => sum + those.length, 0),
  };
}
