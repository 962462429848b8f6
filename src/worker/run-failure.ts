import { Fault } from '../../gen/memoir/jobs/v1/attempt_pb.js';

/** Why a run ended without success, as FailJob takes it. */
export class RunFailure extends Error {
  /** A stable word in upper case. */
  readonly reason: string;
  /** Whose fault it is. */
  readonly fault: Fault;
  /** The place of the worker that is not well, as its health names it; undefined if none is known not to be. */
  readonly place: string | undefined;

  constructor(reason: string, message: string, fault = Fault.SCRIPT, place?: string) {
    super(message);
    this.name = 'RunFailure';
    this.reason = reason;
    this.fault = fault;
    this.place = place;
  }
}

/** The worker has to end, and gives the job back: another attempt follows, as if this one had not been. */
export class GivenBack extends RunFailure {
  constructor() {
    super('WORKER_STOPPED', 'the worker was stopped while it ran the job', Fault.WORKER);
    this.name = 'GivenBack';
  }
}

/**
 * A run that could not be, or could not be kept, by the fault of a place of the worker's: its disk is full, its repository cannot be
 * read. Another worker may well run the job.
 */
export class PlaceFault extends RunFailure {
  /**
   * @param what - is wrong, without anything that is only the worker's operator's to know, such as a path
   * @param cause - the whole of it, for the worker's log
   */
  constructor(place: string, what: string, cause?: unknown) {
    super(
      'PLACE_FAULT',
      `${what}; this is the fault of the worker's ${place}, not the job's: request the job again`,
      Fault.PLACE,
      place,
    );
    this.name = 'PlaceFault';
    this.cause = cause;
  }
}

/** Names of a worker's places. */
export const workPlace = 'work directory';
export const storePlace = 'content store';
export const runtimePlace = 'image runtime';
export const keptPlace = 'directory of kept commits';
export const repositoryPlace = (name: string) => `repository ${JSON.stringify(name)}`;

/** Why a run is given up although the server accepts nothing more of it: it was cancelled, or its lease ran out. */
export class RunLost extends Error {
  override readonly name = 'RunLost';
}
