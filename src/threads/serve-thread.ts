import { parentPort, workerData } from 'node:worker_threads';
import type { FromThread, ToThread } from './messages.js';
import type { Call, Methods, OpenThread } from './methods.js';
import { packError, unsendable } from './sent-error.js';

type Method = (ask: unknown, call: Call<unknown>) => unknown;

/**
 * Makes the file that calls it the code of a thread, with the methods that `open` makes. What is asked before is kept until they are
 * there. Whatever is thrown, by `open`, by a method, or by nobody knows whom, goes to who asked, with its class and its causes.
 *
 * When the thread is to end, what is under way is aborted and waited for, and then its method `close`, if it has one; then it ends,
 * whatever a library may still have open.
 */
export function serveThread(open: OpenThread): void {
  if (!parentPort) throw new Error('this file is the code of a thread, not of a process');
  const port = parentPort;
  const running = new Map<number, Breaking>();
  let methods: Methods = {};
  let idle: (() => void) | undefined;

  const say = (message: FromThread, memory?: readonly ArrayBuffer[]) => port.postMessage(message, memory);

  function done(number: number, outcome: FromThread, memory?: readonly ArrayBuffer[]): void {
    running.delete(number);
    try {
      say(outcome, memory);
    } catch (error) {
      say({ kind: 'failed', number, error: packError(unsendable('what a thread answers', error)) });
    }
    if (running.size === 0) idle?.();
  }

  function answer({ number, method: name, ask }: Extract<ToThread, { kind: 'ask' }>): void {
    const breaking = new Breaking();
    running.set(number, breaking);
    let memory: readonly ArrayBuffer[] | undefined;
    const call: Call<unknown> = {
      get signal() {
        return breaking.signal();
      },
      tell: (told) => say({ kind: 'told', number, told }),
      handOver: (...handed) => {
        memory = handed;
      },
    };
    const answered = (given: unknown) => done(number, { kind: 'answer', number, answer: given }, memory);
    const failed = (error: unknown) =>
      done(
        number,
        breaking.wasOf(error) ? { kind: 'aborted', number } : { kind: 'failed', number, error: packError(error) },
      );
    let given: unknown;
    try {
      const method = Object.hasOwn(methods, name) ? (methods[name] as Method) : undefined;
      if (!method) throw new TypeError(`the thread has no method ${name}`);
      given = method(ask, call);
    } catch (error) {
      failed(error);
      return;
    }
    // What is there already is answered at once.
    if (given instanceof Promise) given.then(answered, failed);
    else answered(given);
  }

  async function close(): Promise<void> {
    for (const breaking of running.values()) breaking.abort();
    if (running.size > 0) {
      await new Promise<void>((resolve) => {
        idle = resolve;
      });
    }
    const { close: last } = methods as { readonly close?: () => unknown };
    await last?.();
    process.exit(0);
  }

  function take(message: ToThread): void {
    if (message.kind === 'ask') answer(message);
    else if (message.kind === 'abort') running.get(message.number)?.abort();
    else void close();
  }

  function die(error: unknown): void {
    say({ kind: 'died', error: packError(error) });
    process.exit(1);
  }
  process.once('uncaughtException', die);
  process.once('unhandledRejection', die);
  void (async () => {
    try {
      methods = await open(workerData as never);
    } catch (error) {
      say({ kind: 'unopened', error: packError(error) });
      process.exit(1);
    }
    say({ kind: 'opened' });
    port.on('message', take);
  })();
}

/** How one call is broken off. Its signal is made when the method looks at it, since that takes longer than all else of a short call. */
class Breaking {
  #controller: AbortController | undefined;
  #aborted = false;

  signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#aborted) this.#controller.abort();
    }
    return this.#controller.signal;
  }

  abort(): void {
    this.#aborted = true;
    this.#controller?.abort();
  }

  /** Whether a method failed because it was to break off: with the signal's reason, or as Node's own functions say it. */
  wasOf(error: unknown): boolean {
    if (!this.#aborted) return false;
    const isReason = this.#controller !== undefined && error === this.#controller.signal.reason;
    return isReason || (error instanceof Error && error.name === 'AbortError');
  }
}
