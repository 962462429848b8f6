/** Why what a commit has at some paths cannot be run by itself. */
export type UnfitCode = {
  readonly kind: 'unfit';
  /** Which of the paths it is about, from 0. */
  readonly place: number;
  readonly reason: 'BAD_CODE_PATH' | 'CODE_LINK_LEAVES' | 'CODE_EXPORT_SUBST';
  /** For people; begins with the path or name. */
  readonly what: string;
};
