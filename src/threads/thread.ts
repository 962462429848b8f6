import { Worker } from 'node:worker_threads';
import { messageOf } from '../domain/errors.js';
import type { FromThread, ToThread } from './messages.js';
import type { CallOptions, Calls, DataOf, OpenThread } from './methods.js';
import { type ErrorClass, unpackError, unsendable } from './sent-error.js';
import { youngSpace } from './young-space.js';

/** A thread as those see it who call its methods. */
export type Thread<Open extends OpenThread> = {
  /**
   * Its methods.
   * @throws what the method throws, of the class that it was, where that is MemoirError, of the language, or in `errors`; what the
   * thread could not begin for; `ThreadEnded`; `CallAborted`; or TypeError if what is asked cannot be sent
   */
  readonly call: Calls<Open>;
  /** Resolves when it has begun. @throws as a call */
  readonly opened: Promise<void>;
  /** Resolves when it has ended, with why. */
  readonly ended: Promise<Error>;
  /** False from the moment in which it is closed, terminated or found to have ended. */
  alive(): boolean;
  /** Aborts what is under way, and ends it when that and the thread's own `close` are done. Resolves then. */
  close(): Promise<void>;
  /** Ends it, whatever it does. Resolves then. */
  terminate(): Promise<void>;
};

/** How a thread is called. */
export type ThreadOptions = {
  /** What messages call it, such as "the thread that keeps commits". */
  readonly name: string;
  /** Further classes of errors that come out of it as what they were. */
  readonly errors?: readonly ErrorClass[];
  /** Room for its young objects, in MiB, beyond which V8 looks what is garbage; as the process was started with unless given. */
  readonly youngMiB?: number;
};

/** The thread answers nothing any more. The cause is what it died of, if that is known. */
export class ThreadEnded extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'ThreadEnded';
  }
}

/** The call's signal aborted, and the thread has broken off; the cause is the signal's reason. As Node's own functions say it. */
export class CallAborted extends Error {
  readonly code = 'ABORT_ERR';
  constructor(reason: unknown) {
    super('the call was aborted', { cause: reason });
    this.name = 'AbortError';
  }
}

/** Asks a method something. */
export type Ask = (method: string, ask: unknown, options?: CallOptions<never>) => Promise<unknown>;

/** The number of what waits for the thread to begin. */
const opening = 0;

type Waiting = {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: unknown) => void;
  readonly options: CallOptions<never>;
  readonly aborted: () => void;
};

/**
 * Starts a thread: `file` calls `serveThread`, and `Open` is the type of what it calls it with. The process does not go on for its
 * sake alone while nothing is asked of it.
 */
export function startThread<Open extends OpenThread>(
  file: URL,
  data: DataOf<Open>,
  { name, errors, youngMiB }: ThreadOptions,
): Thread<Open> {
  const worker = new Worker(file, { workerData: data, resourceLimits: youngSpace(youngMiB) });
  const waiting = new Map<number, Waiting>();
  let asked = opening;
  /** Why it takes no further calls. */
  let over: Error | undefined;
  /** What it is known to have ended of. */
  let cause: unknown;

  const post = (message: ToThread, memory?: readonly ArrayBuffer[]) => worker.postMessage(message, memory);

  function settled(number: number): Waiting | undefined {
    const call = waiting.get(number);
    waiting.delete(number);
    if (waiting.size === 0 && !over) worker.unref();
    call?.options.signal?.removeEventListener('abort', call.aborted);
    return call;
  }

  const ask: Ask = (method, what, options = {}) =>
    new Promise((resolve, reject) => {
      const { signal, handOver } = options;
      if (over) return reject(over);
      if (signal?.aborted) return reject(new CallAborted(signal.reason));
      const number = ++asked;
      try {
        post({ kind: 'ask', number, method, ask: what }, handOver);
      } catch (error) {
        return reject(unsendable(`what ${name} is asked`, error));
      }
      const aborted = () => post({ kind: 'abort', number });
      signal?.addEventListener('abort', aborted, { once: true });
      waiting.set(number, { resolve, reject, options, aborted });
      if (waiting.size === 1) worker.ref();
    });

  function take(message: FromThread): void {
    if (message.kind === 'opened') settled(opening)?.resolve(undefined);
    else if (message.kind === 'unopened') over = unpackError(message.error, errors);
    else if (message.kind === 'died') cause = unpackError(message.error, errors);
    else if (message.kind === 'told') waiting.get(message.number)?.options.onTold?.(message.told as never);
    else {
      const call = settled(message.number);
      const signal = call?.options.signal;
      if (message.kind === 'answer') call?.resolve(message.answer);
      else if (message.kind === 'failed') call?.reject(unpackError(message.error, errors));
      else call?.reject(signal?.aborted ? new CallAborted(signal.reason) : over);
    }
  }

  const opened = new Promise<void>((resolve, reject) => {
    waiting.set(opening, { resolve: () => resolve(), reject, options: {}, aborted: () => undefined });
  });
  // Whoever waits for it is told; nobody has to.
  opened.catch(() => undefined);
  const ended = new Promise<Error>((resolve) => {
    worker.once('exit', (code) => {
      const why = cause === undefined ? ` with exit code ${code}` : `: ${messageOf(cause)}`;
      over ??= new ThreadEnded(`${name} has ended unexpectedly${why}`, cause);
      resolve(over);
      for (const number of [...waiting.keys()]) settled(number)?.reject(over);
    });
  });
  worker.on('message', take);
  worker.on('error', (error) => {
    cause ??= error;
  });
  worker.on('messageerror', (error) => {
    cause ??= error;
    void worker.terminate();
  });

  return {
    call: callsBy<Open>(ask),
    opened,
    ended,
    alive: () => over === undefined,
    async close() {
      if (!over) {
        over = new ThreadEnded(`${name} is closed`);
        worker.ref();
        post({ kind: 'close' });
      }
      await ended;
    },
    async terminate() {
      over ??= new ThreadEnded(`${name} was ended`);
      await worker.terminate();
      await ended;
    },
  };
}

/** Methods of any name, which ask by it. */
export function callsBy<Open extends OpenThread>(ask: Ask): Calls<Open> {
  const methods = {
    // What is awaited is looked at for a method of this name.
    get: (_: object, method: string | symbol) =>
      typeof method === 'string' && method !== 'then'
        ? (what: unknown, options?: CallOptions<never>) => ask(method, what, options)
        : undefined,
  };
  return new Proxy({}, methods) as Calls<Open>;
}
