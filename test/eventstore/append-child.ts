import { writeSync } from 'node:fs';
import { openSqliteStore } from '../../src/eventstore/sqlite/store.js';
import { newEvent } from '../contract/events.js';

// Appends to the log at the first argument as fast as it can, and says on stdout which appends were acknowledged, one line each:
// the stream, the revision and the number of events. The lines are written at once, so that a kill loses none. Goes on through
// failures, which it says too, until it is killed.

const [path, streams = '8', size = '1000'] = process.argv.slice(2) as [string, ...string[]];
const store = await openSqliteStore(path, Date.now);
writeSync(1, 'open\n');

await Promise.all(
  Array.from({ length: Number(streams) }, async (_, s) => {
    const stream = `s${s}`;
    for (let i = 0; ; i++) {
      const count = 1 + (i % 3);
      const events = Array.from({ length: count }, (_, j) => newEvent(`${j}/${count}`.padEnd(Number(size), '.')));
      try {
        const { revision } = await store.append(stream, 'any', events);
        writeSync(1, `ok ${stream} ${revision} ${count}\n`);
      } catch (error) {
        writeSync(1, `${(error as Error).name} ${(error as Error).message}\n`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  }),
);
