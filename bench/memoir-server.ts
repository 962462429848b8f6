import pino from 'pino';
import { serverConfig } from '../src/config.js';
import { systemEdge } from '../src/edge.js';
import { startServer } from '../src/main.js';

// A Memoir server in a process of its own. Its only argument is its configuration as JSON. Tells its parent the port.

/** One caller makes all calls of a bench, as many as it can; what limits do stands in a bench of its own. */
const limits = {
  calls_per_second: 1_000_000,
  calls_burst: 10_000_000,
  reports_per_second: 1_000_000,
  reports_burst: 10_000_000,
  streams: 1_000_000,
  lists: 1_000_000,
  bytes_per_second: 2 ** 50,
  bytes_burst: 2 ** 50,
};

const config = serverConfig.parse({ limits, ...JSON.parse(process.argv[2] ?? '{}') });
const server = await startServer(config, systemEdge, pino({ level: config.log_level }));
await server.ready();
process.send?.(Number(server.address.split(':').at(-1)));
process.once('disconnect', () => void server.stop().then(() => process.exit(0)));
