import { pino } from 'pino';
import { serverConfig } from '../../src/config.js';
import { systemEdge } from '../../src/edge.js';
import { startServer } from '../../src/main.js';

// A server in a process of its own, to be killed. Its arguments are the settings as JSON, and how many milliseconds its clock is ahead. Says
// its address on standard output when it answers calls, and "stopped" when SIGTERM has ended it.

const config = serverConfig.parse(JSON.parse(process.argv[2] ?? ''));
const ahead = Number(process.argv[3] ?? 0);
const edge = { ...systemEdge, now: () => systemEdge.now() + ahead };
const server = await startServer(config, edge, pino({ level: 'error' }, pino.destination(2)));
process.once('SIGTERM', async () => {
  await server.stop();
  process.stdout.write('stopped\n', () => process.exit());
});
await server.ready();
console.log(server.address);
