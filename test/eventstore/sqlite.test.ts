import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openSqliteStore } from '../../src/eventstore/sqlite/store.js';
import { testEventStore } from '../contract/event-store.js';

testEventStore(async () => {
  const directory = await mkdtemp(join(tmpdir(), 'memoir-store-'));
  return {
    open: () => openSqliteStore(join(directory, 'events.sqlite'), Date.now),
    dispose: () => rm(directory, { recursive: true }),
  };
});
