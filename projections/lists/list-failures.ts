/** Thrown out of a statement whose time is up, or that nobody waits for any more. */
export class Overdue extends Error {}

/** Thrown when a file cannot be read, or was made anew meanwhile. */
export class FileTrouble extends Error {}

/** Thrown when too many questions wait already. */
export class LaneFull extends Error {}

/** Thrown when nobody waits for the answer any more; the cause is the reason of the signal. */
export class Dropped extends Error {}
