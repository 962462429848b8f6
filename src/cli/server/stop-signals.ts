/**
 * Aborts at the first SIGTERM or SIGINT. The second ends the process at once, with the exit code that shells give for the signal.
 */
export function stopSignal(onFirst: (signal: NodeJS.Signals) => void): AbortSignal {
  const stop = new AbortController();
  for (const [signal, number] of [
    ['SIGTERM', 15],
    ['SIGINT', 2],
  ] as const) {
    process.on(signal, () => {
      if (stop.signal.aborted) process.exit(128 + number);
      onFirst(signal);
      stop.abort();
    });
  }
  return stop.signal;
}

/** Resolves when the signal aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
