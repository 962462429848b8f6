/** Bounds of a checkout, against trees that are made to fill a disk: a small object can name another a million times. */
export type CheckoutLimits = {
  /** Most files, symbolic links and directories together. */
  readonly entries: number;
  /** Most bytes of one file, which is in memory as a whole while it is written. */
  readonly fileBytes: number;
  /** Most bytes of all files together. */
  readonly totalBytes: number;
  /** Most directories within each other. */
  readonly depth: number;
  /** Most bytes of one file of attributes, whose patterns are tried on every file below it. */
  readonly attributeBytes: number;
};

/** Limits that hold unless others are given. */
export const checkoutLimits: CheckoutLimits = {
  entries: 1_000_000,
  fileBytes: 1024 ** 3,
  totalBytes: 64 * 1024 ** 3,
  depth: 256,
  attributeBytes: 1024 ** 2,
};
