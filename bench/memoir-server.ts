import pino from 'pino';
import { serverConfig } from '../src/config.js';
import { systemEdge } from '../src/edge.js';
import { startServer } from '../src/main.js';

// A Memoir server in a process of its own. Its only argument is its configuration as JSON. Tells its parent the port.

const config = serverConfig.parse(JSON.parse(process.argv[2] ?? '{}'));
const server = await startServer(config, systemEdge, pino({ level: config.log_level }));
await server.ready();
process.send?.(Number(server.address.split(':').at(-1)));
process.once('disconnect', () => void server.stop().then(() => process.exit(0)));
