/** The output of a job, by its address and, where that is the one of a tree, the one that the same files have as a manifest. */
export type Output = {
  readonly output: string;
  /** Empty, or absent, unless it is known beside another address. */
  readonly outputV1?: string;
};

/** Every address that an output has; none if there is no output. */
export function addressesOf({ output, outputV1 = '' }: Output): readonly string[] {
  if (output === '') return [];
  return outputV1 === '' || outputV1 === output ? [output] : [output, outputV1];
}

/**
 * Whether two outputs are the same files: if either address is. An address is a function of the files, in one form or the other, so that
 * this is as good as comparing the files.
 */
export function isSameOutput(one: Output, other: Output): boolean {
  if (one.output === other.output) return true;
  const others = addressesOf(other);
  return addressesOf(one).some((address) => others.includes(address));
}
