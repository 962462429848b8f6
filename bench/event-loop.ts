import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';

/** How long event loops were held up at most while some work went on, in milliseconds. */
export type HeldUp<T> = {
  readonly held: number;
  /** The same of a process that did nothing at that time: what the machine's other work did. */
  readonly idle: number;
  readonly result: T;
};

/** Measures how long work holds up the event loop, beside an idle process. */
export type EventLoopMeter = {
  during<T>(work: () => Promise<T>): Promise<HeldUp<T>>;
  close(): void;
};

/** Starts the idle process. */
export function startEventLoopMeter(): EventLoopMeter {
  const child: ChildProcess = fork(new URL('./idle-loop.js', import.meta.url));
  return {
    async during(work) {
      child.send('start');
      const monitor = monitorEventLoopDelay({ resolution: 1 });
      monitor.enable();
      await delay(5);
      const result = await work();
      await delay(5);
      monitor.disable();
      child.send('stop');
      const [idle] = (await once(child, 'message')) as [number];
      return { held: monitor.max / 1e6, idle, result };
    },
    close: () => void child.kill(),
  };
}
