import { execFile } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Logger } from 'pino';
import { messageOf } from '../../domain/errors.js';

const run = promisify(execFile);

/** Least time between two states that are told, in milliseconds: each takes a process. */
const between = 1_000;

/** Longest time that telling one may take, in milliseconds. */
const patience = 5_000;

/** Longest state that is told, in characters. */
const mostText = 500;

/** The service manager that started this process, as systemd does for a unit of Type=notify. */
export type ServiceManager = {
  /** Tells what the server does now. */
  status(text: string): void;
  /** Tells, once, that the server answers calls: the unit is started from here on. */
  ready(): void;
  /** Tells that the server is stopping, and no more after that. Resolves when that was told, or could not be. */
  stopping(): Promise<void>;
};

/**
 * The service manager by the environment, as sd_notify(3) and sd_watchdog_enabled(3) have it; one that is told nothing where there is none. Node.js has no
 * datagrams of Unix sockets, so `systemd-notify` sends them. Where the unit has a watchdog, it hears from here on that this thread goes on.
 */
export function serviceManager(environment: NodeJS.ProcessEnv, logger: Logger): ServiceManager {
  const { NOTIFY_SOCKET: socket } = environment;
  if (!socket) return { status() {}, ready() {}, stopping: async () => {} };
  /** What is to be told next, by name, so that of several states the last is told. */
  let next = new Map<string, string>();
  let telling: Promise<void> | undefined;
  let isReady = false;
  const stopped = new AbortController();
  let failed = false;

  async function tellAll(): Promise<void> {
    while (next.size > 0) {
      const lines = [...next].map(([name, value]) => `${name}=${value}`);
      next = new Map();
      try {
        await run('systemd-notify', lines, { timeout: patience, env: { ...environment, NOTIFY_SOCKET: socket } });
      } catch (error) {
        if (!failed) logger.warn({ failure: messageOf(error) }, 'the service manager cannot be told how the server is');
        failed = true;
      }
      // What comes meanwhile is told together; a stop is told at once.
      if (next.size === 0) await pause();
    }
    telling = undefined;
  }

  const pause = () => delay(between, undefined, { ref: false, signal: stopped.signal }).catch(() => undefined);
  function tell(name: string, value: string): void {
    if (stopped.signal.aborted) return;
    next.set(name, value);
    telling ??= tellAll();
  }

  const watchdog = watchdogMs(environment);
  if (watchdog !== undefined) setInterval(() => tell('WATCHDOG', '1'), watchdog / 2).unref();

  return {
    status: (text) => tell('STATUS', text.replaceAll(/\s+/g, ' ').slice(0, mostText)),
    ready() {
      if (!isReady) tell('READY', '1');
      isReady = true;
    },
    async stopping() {
      tell('STOPPING', '1');
      tell('STATUS', 'stops: calls under way may end');
      stopped.abort();
      await telling;
    },
  };
}

/** Within which time, in milliseconds, the watchdog of this process wants to hear of it; undefined if there is none. */
function watchdogMs({ WATCHDOG_USEC: time, WATCHDOG_PID: pid }: NodeJS.ProcessEnv): number | undefined {
  if (pid !== undefined && pid !== String(process.pid)) return undefined;
  const ms = Number(time) / 1_000;
  return ms >= 1 ? ms : undefined;
}
