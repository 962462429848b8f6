/** A time in which servers did not have all of an output or log that they kept, in positions of the log. */
export type Loss = {
  /** Position of the event that says so. */
  readonly from: number;
  /** Position of the event by which it was there again; absent while it is not. */
  readonly until?: number;
  /** What is lost, for people. */
  readonly detail: string;
};

/** What is known of a job whose output or log may have been lost. */
export type Losing = {
  /** Position of the event that requested it; absent where it is not known. */
  readonly requested?: number;
  /** Losses of its output and its log, oldest first; absent for none. */
  readonly losses?: readonly Loss[];
};

/** Losses as they were known at a position of the log: without those that were recorded later, and without the ends that were. */
export function lossesUpTo(losses: readonly Loss[], position: number): readonly Loss[] {
  return losses
    .filter(({ from }) => from <= position)
    .map(({ from, until, detail }) => ({ from, ...(until !== undefined && until <= position && { until }), detail }));
}

/** The loss because of which a job cannot be answered with now. */
export function lossOf({ losses }: Losing): Loss | undefined {
  return losses?.find(({ until }) => until === undefined);
}

/**
 * Whether one job was requested while the output or log of the other was lost. A loss from before the other was requested is one of earlier jobs that
 * gave the same.
 */
export function isReplacement({ requested }: Losing, { losses, requested: before }: Losing): boolean {
  if (requested === undefined || before === undefined || !losses) return false;
  return losses.some(
    ({ from, until }) => before < from && from < requested && (until === undefined || requested < until),
  );
}
