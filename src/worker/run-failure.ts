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

/** Why a run is given up although the server accepts nothing more of it: it was cancelled, or its lease ran out. */
export class RunLost extends Error {
  override readonly name = 'RunLost';
}
