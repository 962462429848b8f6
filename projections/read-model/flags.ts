/** What is true or false of a job, in the columns of its rows: 1 or 0. */
export type FlagsRow = {
  readonly nondeterministic: number;
  readonly leave_lfs_pointers: number;
  readonly leave_submodules: number;
};

/** The flags of a row. */
export function flagsOf({ nondeterministic, leave_lfs_pointers, leave_submodules }: FlagsRow) {
  return {
    nondeterministic: nondeterministic !== 0,
    leaveLfsPointers: leave_lfs_pointers !== 0,
    leaveSubmodules: leave_submodules !== 0,
  };
}
