import { startDouble } from './double.js';

// The double in a process of its own. Its one argument is the number of nodes. Says its URL on standard output, and ends with its
// parent or by SIGTERM.

const double = await startDouble({ nodes: Number(process.argv[2] ?? 1) });
console.log(double.url);
process.stdin.on('end', () => process.exit());
process.stdin.resume();
