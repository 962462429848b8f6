import { MemoirError, messageOf } from '../domain/errors.js';

/** An error as it goes from thread to thread: what a structured clone would lose is its class, and often all but its text. */
export type SentError = {
  /** Names of its classes, the most special first; none if what was thrown is no error. */
  readonly classes: readonly string[];
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
  /** Its own properties, as far as they can be sent. */
  readonly properties: Readonly<Record<string, unknown>>;
  readonly cause?: SentError;
};

/** A class of errors that comes out of a thread as what it was. Its state must be in properties of its own. */
export type ErrorClass = { readonly name: string; readonly prototype: Error };

/** So many causes of causes are sent: there may be circles. */
const deepest = 8;

const ownClasses: readonly ErrorClass[] = [MemoirError, TypeError, RangeError, SyntaxError];

/** What was thrown, so that it can be sent. */
export function packError(thrown: unknown, depth = 0): SentError {
  const message = messageOf(thrown);
  if (!(thrown instanceof Error)) return { classes: [], name: 'Error', message, stack: undefined, properties: {} };
  const { name, stack, cause } = thrown;
  const packed = { classes: classesOf(thrown), name, message, stack, properties: sendable(thrown) };
  return cause === undefined || depth === deepest ? packed : { ...packed, cause: packError(cause, depth + 1) };
}

/** The error that another thread packed. One of no known class is an Error with the name and properties that it had. */
export function unpackError(sent: SentError, classes: readonly ErrorClass[] = []): Error {
  const { name, message, stack, properties, cause } = sent;
  const error = new Error(message, cause && { cause: unpackError(cause, classes) });
  const known = [...classes, ...ownClasses];
  const found = sent.classes.map((of) => known.find((one) => one.name === of)).find((one) => one !== undefined);
  if (found) Object.setPrototypeOf(error, found.prototype);
  Object.assign(error, properties);
  if (error.name !== name) Object.defineProperty(error, 'name', { value: name, configurable: true, writable: true });
  if (stack !== undefined) error.stack = stack;
  return error;
}

/** Something that cannot be sent to or from a thread, such as a function. */
export function unsendable(what: string, cause: unknown): TypeError {
  return new TypeError(`${what} cannot be sent: ${messageOf(cause)}`, { cause });
}

function classesOf(error: Error): string[] {
  const names: string[] = [];
  for (let at = Object.getPrototypeOf(error); at !== null; at = Object.getPrototypeOf(at)) {
    if (typeof at.constructor === 'function') names.push(at.constructor.name);
  }
  return names;
}

function sendable(error: Error): Record<string, unknown> {
  const given: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(error)) {
    if (['message', 'stack', 'cause'].includes(key)) continue;
    try {
      given[key] = structuredClone(value);
    } catch {
      // It is left out: the message says what matters.
    }
  }
  return given;
}
