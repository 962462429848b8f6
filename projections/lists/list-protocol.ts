import type { PastFiles } from '../history/as-of.js';
import type { CandidatesQuery, FilteredCandidates } from './candidates-by-filters.js';
import type { Values, ValuesQuery } from './distinct-values.js';
import type { ListPage, ListQuery } from './list-query.js';

/** What a thread for lists is started with. */
export type ListThreadData = {
  readonly files: PastFiles;
  /** One number of 32 bits: that of the question that nobody waits for any more. */
  readonly dropped: SharedArrayBuffer;
};

/** What can be asked, by the name of the answer. */
export type ListQuestion =
  | { readonly kind: 'list'; readonly query: ListQuery }
  | { readonly kind: 'candidates'; readonly query: CandidatesQuery }
  | { readonly kind: 'values'; readonly query: ValuesQuery };

/** The answer to a kind of question. */
export type ListAnswers = {
  readonly list: ListPage;
  readonly candidates: FilteredCandidates;
  readonly values: Values;
};

/** What a thread is sent. */
export type ListRequest = {
  readonly id: number;
  readonly question: ListQuestion;
  /** How long the answer may take, in milliseconds. */
  readonly limit: number;
};

/** What a thread answers. */
export type ListReply =
  | { readonly id: number; readonly kind: 'answer'; readonly answer: ListAnswers[ListQuestion['kind']] }
  | { readonly id: number; readonly kind: 'overdue'; readonly why: string }
  /** `ofFile`: a file that is read is to blame. */
  | { readonly id: number; readonly kind: 'failed'; readonly message: string; readonly ofFile: boolean };
