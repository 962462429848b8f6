import { monitorEventLoopDelay } from 'node:perf_hooks';

// A process that does nothing but tell how long its event loop was held up: what the machine alone does to one.

const monitor = monitorEventLoopDelay({ resolution: 1 });
process.on('message', (message) => {
  if (message === 'start') {
    monitor.reset();
    monitor.enable();
  } else {
    monitor.disable();
    process.send?.(monitor.max / 1e6);
  }
});
