/** A search for text in the messages of commits. */
export type TextSearch = {
  /** POSIX extended regular expression, as git takes it. */
  readonly pattern: string;
  /** Whether the commit is wanted whose message does not match. */
  readonly negated: boolean;
};

/** Why a text is no refspec that can name one commit; a phrase that follows "is" or the quoted text. */
export type NoRefspec = { readonly problem: string };
