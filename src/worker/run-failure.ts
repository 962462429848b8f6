/** Why a run ended without success, as FailJob takes it. */
export class RunFailure extends Error {
  /** A stable word in upper case. */
  readonly reason: string;

  constructor(reason: string, message: string) {
    super(message);
    this.name = 'RunFailure';
    this.reason = reason;
  }
}

/** Why a worker gives a run up in the middle; the reason of its AbortSignal. */
export type Stop =
  /** Nothing more of the run is accepted: it was cancelled, or another holds it, or its lease ran out. */
  | { readonly kind: 'lost'; readonly why: string }
  /** The worker itself ends. */
  | { readonly kind: 'worker_stopped' };
