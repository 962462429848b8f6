import { invalid, quote } from './errors.js';

/**
 * A generation of the log: from one time that an operator let servers go on with a log that is not what was known of it, to the next.
 * Positions of one generation mean nothing in another.
 */
export type Generation = {
  /** From 1. */
  readonly number: number;
  /** A UUID; empty of the first generation. */
  readonly id: string;
};

/** The generation of a log that never lost anything, as far as it knows. */
export const firstGeneration: Generation = { number: 1, id: '' };

/** What a token of a generation begins with: nothing in the first, as tokens were before there were generations. */
const mark = ({ number, id }: Generation): string => (number === 1 ? '' : `g${number}-${id.slice(0, 8)}.`);

/** The token as clients get it, by which it is known of which generation it is. An empty one stays empty. */
export function markedToken(generation: Generation, token: string): string {
  return token === '' ? '' : mark(generation) + token;
}

/**
 * The token that `markedToken` was given.
 * @throws MemoirError INVALID_ARGUMENT, naming the token and the generations, if it is of another one than the log is in now
 */
export function unmarkedToken(generation: Generation, field: string, token: string): string {
  const [its = '', number = '1'] = /^g(\d{1,9})-[0-9a-f]{8}\./.exec(token) ?? [];
  if (token === '' || its === mark(generation)) return token.slice(its.length);
  const earlier = Number(number) < generation.number;
  const which = `${field} ${quote(token, 60)} is of generation ${number} of the log, and this is`;
  if (!earlier) {
    const now = Number(number) === generation.number ? 'another one of that number' : `generation ${generation.number}`;
    throw invalid(field, 'TOKEN_OF_ANOTHER_GENERATION', `${which} ${now}; begin again without it`);
  }
  const why = 'since then the log lost what it had, or was exchanged';
  throw invalid(
    field,
    'TOKEN_OF_EARLIER_GENERATION',
    `${which} generation ${generation.number}: ${why}, so that the token names no place of it; begin again without it`,
  );
}
