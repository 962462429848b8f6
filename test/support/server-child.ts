import { pino } from 'pino';
import { serverConfig } from '../../src/config.js';
import { systemEdge } from '../../src/edge.js';
import { startServer } from '../../src/main.js';

// A server in a process of its own, to be killed. Its one argument is the settings as JSON. Says its address on standard output
// when it answers calls, and "stopped" when SIGTERM has ended it.

const config = serverConfig.parse(JSON.parse(process.argv[2] ?? ''));
const server = await startServer(config, systemEdge, pino({ level: 'error' }, pino.destination(2)));
process.once('SIGTERM', async () => {
  await server.stop();
  process.stdout.write('stopped\n', () => process.exit());
});
await server.ready();
console.log(server.address);
