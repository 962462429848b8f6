import type { LeafPage } from '../../domain/log-tree/leaf-page.js';

/** Asks a thread for the events after position `after` up to position `to`. */
export type LeafQuestion = { readonly after: number; readonly to: number };

/** What a thread answers, in the order of the questions. */
export type LeafAnswer = LeafPage;
